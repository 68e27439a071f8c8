"""The starter engine: the small packaged English voice `hibari-tts`."""
