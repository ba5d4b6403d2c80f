"""A small XMPP server (RFC 6120 and 6121 as far as chat needs them), so that nothing has to be installed."""
