"""The NBD protocol on sockets: connections, and the servers that hold them."""
