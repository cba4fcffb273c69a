"""The HL7 door: orders by MLLP (HL7 v2 transport)."""
