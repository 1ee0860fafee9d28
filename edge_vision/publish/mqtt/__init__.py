"""Messages to a broker of MQTT."""
