"""Use cases: publishing an extract, signing in, rotating keys, making a backup and so on; one package for each subject.

A use case checks the permission of the user, makes its change in one transaction or one compare-and-set, so that a
crash leaves the old or the new state, and writes an event before it reports success. The packages above this layer
(web, commands, backgrounder) parse requests, call one service and render the result; the packages below know nothing of
users or events.

Imports between the packages form two chains that do not know each other: `content` uses `directory`, which uses `jobs`;
and `keys` uses `secrets`, which uses `configuration`. `files`, for files outside the file store, stands alone. `nodes`,
`recovery` and `backups` use packages of both chains.
"""
