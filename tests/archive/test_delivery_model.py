"""Deliveries and their lease against a model: no row is ever lost, claimed twice under one token, or stuck (P3)."""

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hostd.archive import deliveries, leases
from hostd.archive import tables as t
from hostd.archive.records import Attempt
from hostd.delivery.faults import FINAL

DESTINATION = "modality:archive"
LEASE = f"destination:{DESTINATION}"
LEASE_S = 100.0
NODES = ("one", "two")
DAY = 86400.0

ENGINE = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
t.metadata.create_all(ENGINE)


class Row:
    """What the model knows of a delivery: due at a time, claimed under a token (and noted), or ended."""

    def __init__(self, priority, due):
        self.priority = priority
        self.state, self.due = "due", due
        self.token, self.noted = None, False
        self.doubles = 0


class Deliveries(RuleBasedStateMachine):
    """Two nodes that claim, send, crash and come back late, and a person who retries."""

    @initialize()
    def begin(self):
        self.do(lambda c: [c.execute(sa.delete(table)) for table in reversed(t.metadata.sorted_tables)])
        self.now = 1_000_000.0
        self.rows = {}
        self.tokens = {}  # node → the token that it believes in
        self.holder = (None, 0, 0.0)  # who really has the lease, its token, and until when
        self.claimed = {}  # node → what it believes to have claimed

    def do(self, unit):
        with ENGINE.begin() as connection:
            return unit(connection)

    # -- what may happen

    @rule(content=st.integers(0, 30), priority=st.sampled_from([0, 10, 30]), later=st.sampled_from([0, 50]))
    def ask(self, content, priority, later):
        number, new = self.do(
            lambda c: deliveries.ask(
                c, instance=f"i{content}", sop_instance_uid="1.2", sop_class_uid="1.3", destination=DESTINATION,
                content=f"c{content}", blob=f"b{content}", priority=priority, not_before=self.now + later, now=self.now,
            )
        )  # fmt: skip
        assert new == (number not in self.rows)
        if new:
            self.rows[number] = Row(priority, self.now + later)
        else:
            assert self.rows[number].state in ("due", "claimed"), "a finished delivery absorbed a request"

    @rule(seconds=st.sampled_from([1.0, 60.0, 150.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(node=st.sampled_from(NODES))
    def take_the_lease(self, node):
        token = self.do(lambda c: leases.acquire(c, LEASE, node, self.now, LEASE_S))
        holder, last, until = self.holder
        if token is None:
            assert holder not in (None, node)
            assert until > self.now
            return
        assert token == last + 1
        self.holder = (node, token, self.now + LEASE_S)
        self.tokens[node], self.claimed[node] = token, []
        noted = [row for row in self.rows.values() if row.state == "claimed" and row.noted]
        assert self.do(lambda c: deliveries.recover(c, DESTINATION, token, self.now)) == len(noted)
        for row in self.rows.values():
            if row.state == "claimed":
                row.doubles += row.noted
                row.state, row.due, row.noted = "due", self.now, False

    @precondition(lambda self: self.holder[0])
    @rule(limit=st.integers(1, 6), noted=st.integers(0, 2))
    def claim(self, limit, noted):
        """Only who renews in the same transaction may claim, so that a stale token claims nothing."""
        node, token, _ = self.holder

        def unit(connection):
            assert leases.renew(connection, LEASE, token, self.now, LEASE_S)
            taken = deliveries.claim(connection, DESTINATION, token, self.now, limit)
            deliveries.note(connection, [d.id for d in taken[:noted]], token)
            return taken

        self.holder = (node, token, self.now + LEASE_S)
        taken = [d.id for d in self.do(unit)]
        due = [n for n, row in self.rows.items() if row.state == "due" and row.due <= self.now]
        assert taken == sorted(due, key=lambda n: (-self.rows[n].priority, n))[:limit]
        assert not set(taken) & set(self.claimed[node]), "claimed twice under one token"
        self.claimed[node] += taken
        for place, number in enumerate(taken):
            row = self.rows[number]
            row.state, row.token, row.noted = "claimed", token, place < noted

    @rule(node=st.sampled_from(NODES))
    def renew(self, node):
        token = self.tokens.get(node, 0)
        holder, held, _ = self.holder
        renewed = self.do(lambda c: leases.renew(c, LEASE, token, self.now, LEASE_S))
        assert renewed == (token == held and holder is not None)
        if renewed:
            self.holder = (holder, held, self.now + LEASE_S)

    @precondition(lambda self: any(self.claimed.values()))
    @rule(data=st.data(), outcome=st.sampled_from([*FINAL, "waiting", "lost", "unreached"]))
    def settle(self, data, outcome):
        """Also by a node that lost the lease meanwhile: then it changes nothing."""
        node = data.draw(st.sampled_from([node for node, claimed in self.claimed.items() if claimed]))
        number = data.draw(st.sampled_from(self.claimed[node]))
        self.claimed[node].remove(number)
        row, token = self.rows[number], self.tokens[node]
        attempt = Attempt(number, 1, self.now, outcome, "said", 0, 0.1, "1.2")
        if outcome in FINAL:
            settled = self.do(lambda c: deliveries.finish(c, attempt, token))
        else:
            settled = self.do(lambda c: deliveries.put_off(c, attempt, token, self.now + 30))
        assert settled == (row.state == "claimed" and row.token == token)
        if settled:
            row.doubles += outcome == "lost"
            row.noted = False
            row.state = "ended" if outcome in FINAL else "due"
            row.due = self.now + 30

    @precondition(lambda self: any(self.claimed.values()))
    @rule(data=st.data(), abandons=st.booleans())
    def give_back(self, data, abandons):
        node = data.draw(st.sampled_from([node for node, claimed in self.claimed.items() if claimed]))
        numbers, self.claimed[node] = self.claimed[node], []
        token = self.tokens[node]
        if abandons:
            self.do(lambda c: deliveries.abandon(c, numbers, token, self.now))
        else:
            self.do(lambda c: deliveries.give_back(c, numbers, token, self.now, None))
        for number in numbers:
            row = self.rows[number]
            if row.state == "claimed" and row.token == token:
                row.doubles += row.noted and abandons
                row.state, row.due, row.noted = "due", self.now, False

    @rule()
    def give_up_the_old(self):
        count = self.do(lambda c: deliveries.give_up_old(c, DESTINATION, self.now - 300, self.now, 1000))
        asked = self.do(
            lambda c: {row.id: max(row.created_at, row.not_before) for row in c.execute(sa.select(t.delivery)).all()}
        )
        old = [n for n, row in self.rows.items() if row.state == "due" and asked[n] < self.now - 300]
        assert count == len(old)
        for number in old:
            self.rows[number].state = "ended"

    # -- what must hold

    @invariant()
    def every_row_is_where_the_model_has_it(self):
        stored = self.do(lambda c: c.execute(sa.select(t.delivery)).all())
        assert {row.id for row in stored} == set(self.rows)
        for row in stored:
            model = self.rows[row.id]
            assert row.possible_doubles == model.doubles
            assert row.attempts >= 0
            if model.state == "claimed":
                assert (row.state, row.token, row.on_wire) == ("sending", model.token, model.noted)
            elif model.state == "due":
                assert (row.state, row.next_attempt_at, row.on_wire) == ("waiting", model.due, False)
            else:
                assert row.state in FINAL

    def teardown(self):
        """Nothing is stuck: whatever has not ended is claimed once the lease has run out, in one go."""
        self.now += DAY
        self.take_the_lease("two")
        self.claim(limit=1000, noted=0)
        assert all(row.state in ("claimed", "ended") for row in self.rows.values())


Deliveries.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestDeliveries = Deliveries.TestCase
