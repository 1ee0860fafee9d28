"""Step 2: Frame → ModelInput. What a model wants of a picture is declared in its bundle and done here."""
