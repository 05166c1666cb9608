"""The REST API and the page, in a process of their own that never imports dagster.

`config` is what the environment says of it, `app` puts it together, `server` runs it. Each group of
calls has a file (`records`, `coverage`, `launches`, `events`, `session`, `health`, `page`), whose
routes are thin: reading goes through `tracking/`, launching through Dagster's GraphQL (`launching`,
`runs`). Who may do what stands in `guard`, `auth` and `access`.
"""
