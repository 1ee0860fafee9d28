"""What may not be lost waits here, on disk, until every sink that owes it has delivered it."""
