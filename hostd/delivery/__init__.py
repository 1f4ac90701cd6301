"""The delivery room: couriers claim deliveries, send them, and record every answer (P3)."""
