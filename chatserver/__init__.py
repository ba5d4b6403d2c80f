"""The system under test: a websocket-to-XMPP gateway and a small XMPP server; ships alone in its image."""
