"""The page in the browser, `spiro app`: curves drawn for the person of some sliders, and one's own among them.

What is shown is decided without the framework, in `asked`, `own` and `view`; `figures` and `picture` draw it, `table`
lays it out, `generate` is the panel that holds it, `page` the page around its panels, `server` serves it on loopback.
A further panel is a module with a `Panel` of its own in `page.PANELS`.
"""
