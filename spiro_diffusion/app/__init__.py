"""The web page of `spiro app`: draw curves for a person, compare them with a user curve, complete interrupted efforts.

The contents are computed without the web framework, in `requests`, `user_effort`, `view`, `drawn_session` and
`completion_view`; `figures` and `picture` plot them, `table` and `drawn_session_table` make tables of them; `generate`
(with `generate_controls`), `reconstruct` and `session` are the panels, `page` is the frame around them, `server` serves
it on loopback. A further panel is a module with a `Panel` that is listed in `page.PANELS`.
"""
