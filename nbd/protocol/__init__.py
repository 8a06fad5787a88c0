"""The NBD protocol without sockets: messages in, messages out."""
