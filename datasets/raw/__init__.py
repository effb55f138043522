"""The raw forms that FER2013 and CK+ come in: one file a form."""
