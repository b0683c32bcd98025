"""Small networks, really trained: what an audit must not complain about."""
