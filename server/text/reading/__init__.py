"""Reads written text: `read` gives the words to speak, each with the span of the original text that it stands for.

Stages, in order: `clean` (invisible characters, entities, special tokens), `markup` (Markdown, HTML, links, formulas,
stage directions), then classes of tokens (`money`, `time_and_date`, `codes`, `measures`, `quantities`, `names`,
`symbols`), each read in the language around it, and `letters` (capitals).
"""

from intone.server.text.reading.reader import Piece, Reading, read

__all__ = ["Piece", "Reading", "read"]
