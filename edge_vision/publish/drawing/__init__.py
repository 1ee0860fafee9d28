"""What was seen and where it was looked for, drawn onto a picture."""
