//! Sans-I/O codecs: WebSocket, OCPP 1.6J and OCPP 2.0.1.
