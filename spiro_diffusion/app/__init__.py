"""The web page of `spiro app`: draw curves for a person, compare them with a user curve, complete interrupted efforts.

What is shown is decided without the framework, in `requests`, `user_effort`, `view`, `drawn_session` and
`completion_view`; `figures` and `picture` draw it, `table` and `drawn_session_table` lay it out; `generate` (with
`generate_controls`), `reconstruct` and `session` are the panels, `page` is the frame around them, `server` serves it on
loopback. A further panel is a module with a `Panel` of its own in `page.PANELS`.
"""
