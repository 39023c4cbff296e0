"""The reference's own client against a server of kern, whose agent asks for what its message lists."""

import asyncio
import json
import sys

import httpx
from agno.client import AgentOSClient
from agno.db.base import SessionType

BASE = sys.argv[1]


def asking(*calls):
    return json.dumps(calls)


DELETES = asking(["delete_user", {"user_id": "u1"}])
RESTARTS = asking(["restart", {"service": "web"}])


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


async def refused(what, status, wait):
    try:
        await wait
    except Exception as error:
        answer = getattr(error, "response", None)
        found = getattr(error, "status_code", None) or (answer is not None and answer.status_code)
        assert found == status or str(status) in str(error), f"{what}: {type(error).__name__} {error}"
    else:
        raise AssertionError(f"{what} was not refused")


async def main():
    client = AgentOSClient(BASE)

    config = await client.aget_config()
    same((config.os_id, [agent.id for agent in config.agents]), ("outside", ["a"]))
    same([agent.id for agent in await client.list_agents()], ["a"])
    agent = await client.aget_agent("a")
    same(agent.name, "Agent A")
    same(sorted(tool["name"] for tool in agent.tools["tools"]), ["delete_user", "lookup", "restart"])

    # A run with nothing to decide, whole and as a stream.
    run = await client.run_agent("a", asking(["lookup", {"key": "k"}]), session_id="plain", user_id="alice")
    same((run.status, run.is_paused, run.content), ("COMPLETED", False, "so: value of k"))
    events = []
    async for event in client.run_agent_stream("a", asking(["lookup", {"key": "k"}]), session_id="stream"):
        events.append(type(event).__name__)
    same((events[0], events[-1]), ("RunStartedEvent", "RunCompletedEvent"))
    assert "ToolCallStartedEvent" in events and "ToolCallCompletedEvent" in events, events

    # One that waits for its user, who confirms.
    run = await client.run_agent("a", RESTARTS, session_id="confirms", user_id="alice")
    same((run.status, [tool.tool_name for tool in run.tools]), ("PAUSED", ["restart"]))
    assert run.is_paused and run.tools[0].requires_confirmation
    for tool in run.tools:
        tool.confirmed = True
    run = await client.continue_agent_run("a", run.run_id, tools=run.tools, session_id="confirms", user_id="alice")
    same((run.status, run.content), ("COMPLETED", "so: restarted web"))

    # The same as a stream, and refused.
    events = []
    async for event in client.run_agent_stream("a", RESTARTS, session_id="refuses", user_id="alice"):
        events.append(event)
    paused = events[-1]
    same(type(paused).__name__, "RunPausedEvent")
    for tool in paused.tools:
        tool.confirmed = False
    events = []
    async for event in client.continue_agent_run_stream(
        "a", paused.run_id, tools=paused.tools, session_id="refuses", user_id="alice"
    ):
        events.append(event)
    same(type(events[-1]).__name__, "RunCompletedEvent")
    assert "restarted" not in events[-1].content, events[-1].content

    # One that waits for somebody else: its user cannot go on without them, whatever they send.
    run = await client.run_agent("a", DELETES, session_id="waits", user_id="alice")
    same(run.status, "PAUSED")
    for tool in run.tools:
        tool.confirmed = True
    await refused(
        "an approval that nobody has decided",
        400,
        client.continue_agent_run("a", run.run_id, tools=run.tools, session_id="waits", user_id="alice"),
    )
    same((await client.get_session_run("waits", run.run_id)).status, "PAUSED")
    async with httpx.AsyncClient() as http:
        for row in (await http.get(f"{BASE}/approvals", params={"run_id": run.run_id})).json()["data"]:
            decided = {"status": "approved", "resolved_by": "bob"}
            same((await http.post(f"{BASE}/approvals/{row['id']}/resolve", json=decided)).status_code, 200)
    # It may have gone on by itself: the worker is as fast as this client.
    for _ in range(500):
        run = await client.get_session_run("waits", run.run_id)
        if run.status == "COMPLETED":
            break
        await asyncio.sleep(0.02)
    same((run.status, run.content), ("COMPLETED", "so: deleted u1"))

    # Sessions, and what was run in them.
    sessions = await client.get_sessions(session_type=SessionType.AGENT)
    listed = {session.session_id for session in sessions.data}
    same(listed, {"plain", "stream", "confirms", "refuses", "waits"})
    same(sessions.meta.total_count, 5)
    session = await client.get_session("confirms")
    same((session.session_id, session.agent_id), ("confirms", "a"))
    assert session.chat_history[0]["content"] == RESTARTS, session.chat_history
    same([run.status for run in await client.get_session_runs("confirms")], ["COMPLETED"])

    made = await client.create_session(session_name="Refunds", user_id="alice", agent_id="a", metadata={"theme": "dark"})
    same((made.session_name, made.agent_id, made.metadata, made.chat_history), ("Refunds", "a", {"theme": "dark"}, []))
    run = await client.run_agent("a", DELETES, session_id=made.session_id, user_id="alice")
    same(run.status, "PAUSED")
    renamed = await client.rename_session(made.session_id, "Returns")
    same((renamed.session_name, renamed.user_id), ("Returns", "alice"))
    updated = await client.update_session(made.session_id, metadata={"theme": "light"})
    same((updated.session_name, updated.metadata), ("Returns", {"theme": "light"}))
    same((await client.get_session(made.session_id)).chat_history[0]["content"], DELETES)
    await client.delete_session(made.session_id)
    await refused("a session that was deleted", 404, client.get_session(made.session_id))
    await client.delete_sessions(["plain", "stream"], [SessionType.AGENT, SessionType.AGENT])
    same({session.session_id for session in (await client.get_sessions()).data}, {"confirms", "refuses", "waits"})

    run = await client.run_agent("a", DELETES, session_id="cancelled", user_id="alice")
    await client.cancel_agent_run("a", run.run_id)
    same((await client.get_session_run("cancelled", run.run_id)).status, "CANCELLED")
    await refused("an agent that is not there", 404, client.aget_agent("nobody"))
    print("the reference's client: everything as it should be")


asyncio.run(main())
