"""For Schemathesis: two of three requests are about something that is there. Made-up ids show no more than that they are not.
What is deleted is something that no other request is about."""

import json
import os

import schemathesis

# Ids by the name of their parameter, and the session of each run.
THERE = json.loads(os.environ["KERN_THERE"])
SESSION_OF = THERE.pop("session_of")
TO_DELETE = THERE.pop("to_delete")
turns = 0


@schemathesis.hook
def map_case(context, case):
    global turns
    turns += 1
    if turns % 3 == 0:
        return case
    path = case.path_parameters or {}
    if case.method.upper() == "DELETE" and case.path.startswith("/sessions"):
        if TO_DELETE and "session_id" in path:
            path["session_id"] = TO_DELETE.pop()
        elif TO_DELETE and isinstance(case.body, dict) and isinstance(case.body.get("session_ids"), list):
            case.body["session_ids"] = [TO_DELETE.pop()]
            case.body.pop("session_types", None)
        return case
    for name in path:
        ids = THERE.get(name)
        if ids:
            path[name] = ids[turns % len(ids)]
    session = SESSION_OF.get(path.get("run_id"))
    if session:
        if "session_id" in path:
            path["session_id"] = session
        elif isinstance(case.body, dict):
            case.body["session_id"] = session
        elif isinstance(case.query, dict) and case.method.upper() == "GET":
            case.query["session_id"] = session
    return case
