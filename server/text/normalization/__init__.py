"""Text normalization: `normalize` turns written text into spoken text, with the original span of every piece.

Stages, in order: `clean` (invisible characters, entities, special tokens), `markup` (Markdown, HTML, links, formulas,
stage directions), then classes of tokens (`money`, `time_and_date`, `codes`, `measures`, `quantities`, `names`,
`symbols`), each verbalized in the language of the text around it, and `capitals`.
"""

from intone.server.text.normalization.pipeline import NormalizedText, Piece, normalize

__all__ = ["NormalizedText", "Piece", "normalize"]
