"""Pictures and clips of events: what shows people afterwards why a message was sent."""
