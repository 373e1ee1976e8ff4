"""What a script with tableauserverclient does; run by the interpreter that has the wanted version. Prints facts as JSON.

Not a test: `test_tsc.py` runs it. It must not import the product.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import tableauserverclient as TSC  # noqa: N812 its own documentation's name


def main(url: str, password_file: str, folder: str) -> None:
    installed = version("tableauserverclient")
    facts: dict[str, object] = {"version": installed}
    place = Path(folder)
    server = TSC.Server(url)
    server.use_server_version()
    password = Path(password_file).read_text().strip()
    server.auth.sign_in(TSC.TableauAuth("admin", password))
    facts["api"] = server.version
    name = f"tsc{installed.replace('.', '')}"
    site = server.sites.create(TSC.SiteItem(name, name, extract_encryption_mode="enforced"))
    server.auth.switch_site(site)
    server.auth.switch_site(site)  # 403070 is swallowed
    facts["mode"] = server.sites.get_by_id(site.id).extract_encryption_mode
    facts["items"] = publish(server, place)
    facts["jobs"] = jobs(server, site)
    facts["modes"] = modes(server, site)
    facts["rest"] = rest(server)
    server.sites.delete(server.site_id)
    sys.stdout.write(json.dumps(facts))


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def publish(server: TSC.Server, place: Path) -> dict[str, object]:
    project = next(one for one in TSC.Pager(server.projects) if one.name == "Default")
    source = place / "tsc.hyper"
    item = server.datasources.publish(TSC.DatasourceItem(project.id), str(source), "CreateNew")
    shown = server.datasources.get_by_id(item.id)
    back = server.datasources.download(item.id, filepath=str(place / "back"))
    parquet = TSC.DatasourceItem(project.id, name="table")
    server.datasources.publish(parquet, str(place / "tsc.parquet"), "CreateNew")
    again = TSC.DatasourceItem(project.id, name="tsc")
    server.datasources.publish(again, str(source), "Overwrite")
    job = server.datasources.publish(
        TSC.DatasourceItem(project.id, name="later"), str(source), "CreateNew", as_job=True
    )
    server.datasources.populate_connections(shown)
    options = TSC.RequestOptions()
    field, equals = TSC.RequestOptions.Field.Name, TSC.RequestOptions.Operator.Equals
    options.filter.add(TSC.Filter(field, equals, "TSC"))
    found, _ = server.datasources.get(options)
    return {
        "encrypted": shown.encrypt_extracts,
        "same": digest(back) == digest(source),
        "suffix": Path(back).suffix,
        "connections": len(shown.connections),
        "found": [one.name for one in found],
        "as_job": server.jobs.wait_for_job(job, timeout=60).finish_code,
    }


def jobs(server: TSC.Server, site: TSC.SiteItem) -> dict[str, object]:
    server.sites.encrypt_extracts(site.id)
    server.sites.re_encrypt_extracts(site.id)
    facts: dict[str, object] = {"decrypt": refused(lambda: server.sites.decrypt_extracts(site.id))}
    listed, _ = server.jobs.get()
    ended = [server.jobs.wait_for_job(one.id, timeout=60) for one in listed]
    facts["types"] = sorted(one.type for one in ended)
    facts["codes"] = sorted({int(one.finish_code) for one in ended})
    facts["times"] = all(one.created_at and one.completed_at for one in ended)
    return facts


def modes(server: TSC.Server, site: TSC.SiteItem) -> dict[str, object]:
    facts: dict[str, object] = {}
    shown = server.sites.get_by_id(site.id)
    shown.extract_encryption_mode = "enabled"
    facts["enabled"] = server.sites.update(shown).extract_encryption_mode
    item = next(one for one in TSC.Pager(server.datasources) if one.name == "tsc")
    for wish in (False, True):
        item.encrypt_extracts = wish
        server.datasources.update(item)
        newest, _ = server.jobs.get()
        server.jobs.wait_for_job(newest[0].id, timeout=60)
        facts[str(wish)] = server.datasources.get_by_id(item.id).encrypt_extracts
    shown.extract_encryption_mode = "disabled"
    facts["disabled"] = server.sites.update(shown).extract_encryption_mode
    newest, _ = server.jobs.get()
    server.jobs.wait_for_job(newest[0].id, timeout=60)
    facts["left"] = [one.name for one in TSC.Pager(server.datasources) if one.encrypt_extracts]
    item.encrypt_extracts = True
    facts["refused"] = refused(lambda: server.datasources.update(item))
    return facts


def rest(server: TSC.Server) -> dict[str, object]:
    user = server.users.add(TSC.UserItem("bob", "Viewer"))
    group = server.groups.create(TSC.GroupItem("G"))
    server.groups.add_user(group, user.id)
    server.groups.populate_users(group)
    members = [one.name for one in group.users]
    server.groups.remove_user(group, user.id)
    server.groups.delete(group.id)
    server.users.remove(user.id)
    project = server.projects.create(TSC.ProjectItem("P"))
    project.description = "changed"
    changed = server.projects.update(project).description
    server.projects.delete(project.id)
    return {
        "members": members,
        "users": [one.name for one in TSC.Pager(server.users)],
        "changed": changed,
        "flows": len(list(TSC.Pager(server.flows))),
        "workbooks": len(list(TSC.Pager(server.workbooks))),
    }


def refused(call: object) -> str:
    try:
        call()  # type: ignore[operator]
    except TSC.ServerResponseError as error:
        return str(error.code)
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
