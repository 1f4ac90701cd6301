"""What is sent and where to: deliveries, each try of one, what was made for them, and what peers said."""

from __future__ import annotations

import sqlalchemy as sa

from hostd.archive.tables.columns import NUMBER, metadata

OPEN_STATES = ("preparing", "waiting", "sending", "held")
"""States of a delivery that still wants to be sent; `failed` is final until someone retries it, but pins its file."""
_OPEN = "state IN ('preparing', 'waiting', 'sending', 'held')"
_DUE = "state IN ('preparing', 'waiting')"
_UNCOMMITTED = "commitment IN ('wanted', 'asked')"
IS_OPEN = sa.text(f"delivery.{_OPEN}")
"""Of deliveries that still want to be sent; written out, as `IS_DUE`."""
IS_UNCOMMITTED = sa.text(f"delivery.{_UNCOMMITTED}")
"""Of deliveries whose peer has not reported that it is committed to them."""
IS_DUE = sa.text(f"delivery.{_DUE}")
"""Of deliveries that wait for their next attempt; written out, so that the indexes of exactly this condition are used."""

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id"), index=True),
    sa.Column("alternate_of", sa.BigInteger),  # the delivery that failed, for which this one stands in
    sa.Column("script", sa.Text),
    sa.Column("instance", sa.Text, nullable=False, index=True),
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),  # SHA-256 of the data set as received
    sa.Column("blob", sa.Text, nullable=False, index=True),
    sa.Column("transform", sa.Text, nullable=False, server_default=""),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # preparing waiting sending held | delivered warning present failed discarded
    sa.Column("token", sa.BigInteger),
    sa.Column("on_wire", sa.Boolean, nullable=False, server_default=sa.false()),  # may be sent already, while `sending`
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("next_attempt_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("possible_doubles", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("commitment", sa.Text),  # wanted | asked | committed | refused
    sa.Column("commitment_uid", sa.Text, index=True),  # of the transaction with which it was asked last
    sa.Column("commitment_asked_at", sa.Float),
    sa.Column("is_original", sa.Boolean),  # sent as the same instance, and without loss
    sa.Column("manner", sa.Text, nullable=False, server_default=""),  # hostd.archive.manners
    sa.Index(
        "ix_delivery_uncommitted", "destination", "commitment", "commitment_asked_at",
        sqlite_where=sa.text(_UNCOMMITTED), postgresql_where=sa.text(_UNCOMMITTED),
    ),
    sa.Index(
        "uq_delivery_open", "destination", "content", "transform", unique=True, sqlite_where=sa.text(_OPEN)
    ).ddl_if(dialect="sqlite"),
    sa.Index("ix_delivery_claim", "destination", "state", "priority", "id"),
    sa.Index(
        "ix_delivery_due", "destination", "next_attempt_at",
        sqlite_where=sa.text(_DUE), postgresql_where=sa.text(_DUE),
    ),
    sa.Index(
        "ix_delivery_order", "destination", "priority", "id", "next_attempt_at",
        sqlite_where=sa.text(_DUE), postgresql_where=sa.text(_DUE),
    ),
    sa.Index("ix_delivery_state", "state", "id"),
    sa.Index(
        "ix_delivery_alternate_of", "alternate_of",
        sqlite_where=sa.text("alternate_of IS NOT NULL"), postgresql_where=sa.text("alternate_of IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)  # fmt: skip
# A transform may be longer than an entry of PostgreSQL's indexes, so that there its hash stands for it.
sa.Index(
    "uq_delivery_open_of", delivery.c.destination, delivery.c.content, sa.func.md5(delivery.c.transform),
    unique=True, postgresql_where=sa.text(_OPEN),
).ddl_if(dialect="postgresql")  # fmt: skip

commitment = sa.Table(  # a request for storage commitment
    "commitment",
    metadata,
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="asked"),  # asked | reported | withdrawn
    sa.Column("reported_at", sa.Float),
)

accepted = sa.Table(  # what a destination said last of the transfer syntaxes that it was proposed, UIDs
    "accepted",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("sop_class_uid", sa.Text, primary_key=True),
    sa.Column("accepted", sa.JSON, nullable=False),
    sa.Column("refused", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

remote = sa.Table(  # modalities and peers that were put by HTTP; what the configuration names wins
    "remote",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),  # modality | peer
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("given", sa.JSON, nullable=False),  # in Orthanc's form, with its password
    sa.Column("put_at", sa.Float, nullable=False),
    sa.Column("put_by", sa.Text, nullable=False),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("delivery", sa.BigInteger, sa.ForeignKey("delivery.id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("seconds", sa.Float),
    sa.Column("sent_syntax", sa.Text),
    sa.Column(
        "sent_sop_instance_uid", sa.Text
    ),  # None before the first release that noted it, or when nothing was sent
    sqlite_autoincrement=True,
)

receipt = sa.Table(
    "receipt",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),  # blob
    sa.Column("transform", sa.Text, nullable=False),
    sa.Column("result", sa.Text, index=True),  # blob, None when the original was kept or the product was let go
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.UniqueConstraint("source", "transform").ddl_if(dialect="sqlite"),
    sqlite_autoincrement=True,
)

sa.Index("uq_receipt_of", receipt.c.source, sa.func.md5(receipt.c.transform), unique=True).ddl_if(dialect="postgresql")

figure = sa.Table(  # what was sent, by the day; kept when attempts are purged
    "figure",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),  # since 1970 UTC
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)

reckoned = sa.Table(  # up to which row something has been counted
    "reckoned",
    metadata,
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("upto", sa.BigInteger, nullable=False),
)
