"""Files and command line to settings. Pure: texts in, settings out."""
