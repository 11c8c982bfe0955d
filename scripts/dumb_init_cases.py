"""Which of dumb-init's own tests portcullis has to pass, and room for a busy machine. A plugin of pytest, for scripts/dumb-init-tests."""
import testing

LEFT_OUT = {
    "cli_test.py": "dumb-init's own command line and its words",
    "test_fails_nonzero_with_bad_exec": "asserts the words of dumb-init's message",
    "test_sighup_sigcont_ignored_if_was_session_leader": "asserts dumb-init's debug messages",
    "test_tty": "expects nothing but the process' own words on the terminal; the last line says how it ended",
    "test_all_processes_receive_term_on_exit_if_setsid": "kills at its end what has to be there still; portcullis leaves nothing behind",
}

def why(item):
    """Why a case is left out, or None."""
    # `--signal-scope child` is specific to portcullis: a stop begins with TERM, and a suspended process is continued to receive it.
    if getattr(item, "callspec", None) and item.callspec.params.get("both_setsid_modes") == "0" or "setsid_disabled" in item.fixturenames:
        return "without the group"
    return next((reason for name, reason in LEFT_OUT.items() if name in (item.path.name, item.originalname)), None)

def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if why(item)]
    stale = set(LEFT_OUT.values()) - {why(item) for item in left_out}
    assert not stale, f"no such case any more: {stale}"
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not why(item)]
    assert len(items) >= 40, f"only {len(items)} of {len(left_out)} cases are left"
    # A second and a half is short if both cores are busy.
    testing.sleep_until.__defaults__ = (60,)
