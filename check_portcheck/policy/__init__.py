"""What the administrator wants, and what that makes of a report. Pure."""
