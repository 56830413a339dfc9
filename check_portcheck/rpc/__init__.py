"""What the portmapper tells of RPC programs."""
