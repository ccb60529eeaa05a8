"""Serving over sockets: listening, hypercorn under trio, request bodies in bounded memory."""
