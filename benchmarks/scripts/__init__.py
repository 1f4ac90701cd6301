"""How fast scripts take events, how long an event waits for its plan, and what that costs."""
