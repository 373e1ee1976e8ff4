"""Run by a Python that has tableauserverclient: tags, connections, permissions, members, filters and what is not offered.

Arguments: the server's address, the file with the password, a folder.
"""

import json
import sys
from datetime import time
from pathlib import Path
from typing import Any

import tableauserverclient as tsc

TDS = """<datasource formatted-name='federated.1'><connection class='federated'><named-connections>
<named-connection name='pg.1'><connection class='postgres' server='db.example' port='5432' username='reader'/></named-connection>
</named-connections></connection></datasource>"""


def main(address: str, password: str, folder: Path) -> dict[str, Any]:
    server = tsc.Server(address, use_server_version=True)
    server.auth.sign_in(tsc.TableauAuth("admin", password))
    (folder / "more.tds").write_text(TDS)
    project = next(one for one in tsc.Pager(server.projects) if one.name == "Default")
    item = server.datasources.publish(
        tsc.DatasourceItem(project.id, "more"),
        str(folder / "more.tds"),
        tsc.Server.PublishMode.Overwrite,
    )
    server.datasources.add_tags(item, {"one", "two words"})
    server.tags.batch_add(["three"], [item])
    server.datasources.delete_tags(item, "one")
    server.datasources.populate_connections(item)
    connection = item.connections[0]
    connection.username, connection.password, connection.embed_password = "writer", "secret", True
    changed = server.datasources.update_connection(item, connection)
    server.datasources.populate_permissions(item)
    group = server.groups.create(tsc.GroupItem("more"))
    users = [server.users.add(tsc.UserItem(f"more{n}", "Viewer")) for n in (1, 2)]
    added = server.groups.add_users(group, users)
    server.users.populate_groups(users[0])
    joined = [one.name for one in users[0].groups]  # asked for only now
    server.groups.remove_users(group, [users[0]])
    server.groups.populate_users(group)
    server.projects.populate_permissions(project)
    server.projects.populate_workbook_default_permissions(project)
    refused: dict[str, Any] = {}
    calls: dict[str, Any] = {
        "schedule": lambda: server.schedules.create(
            tsc.ScheduleItem("s", 50, "Extract", "Parallel", tsc.DailyInterval(start_time=time(1)))
        ),
        "permission": lambda: server.datasources.update_permissions(item, []),
        "certified": lambda: certify(server, item),
    }
    for name, call in calls.items():
        try:
            call()
        except tsc.ServerResponseError as error:
            refused[name] = error.code
    return {
        "tags": sorted(server.datasources.get_by_id(item.id).tags),
        "connection": [
            changed.server_address,
            changed.server_port,
            changed.username,
            changed.embed_password,
        ],
        "permissions": [len(item.permissions), item.permissions[0].grantee.tag_name],
        "members": [
            len(added),
            joined,
            [one.name for one in group.users],
        ],
        "project": len(project.permissions) > 0 and len(project.default_workbook_permissions) > 0,
        "with": [one.name for one in server.datasources.filter(has_extracts=False, name="more")],
        "by_tag": [one.name for one in server.datasources.filter(tags="two words")],
        "empty": [
            len(one.get()[0])
            for one in (
                server.schedules,
                server.subscriptions,
                server.webhooks,
                server.flows,
                server.tasks,
                server.views,
            )
        ],
        "refused": refused,
    }


def certify(server: Any, item: Any) -> None:
    item.certified = True
    server.datasources.update(item)


if __name__ == "__main__":
    facts = main(sys.argv[1], Path(sys.argv[2]).read_text().strip(), Path(sys.argv[3]))
    sys.stdout.write("\n" + json.dumps(facts) + "\n")
