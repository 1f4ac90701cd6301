"""One node: wires the rooms together, starts and stops them in order. The only place that knows everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from hostd.archive import instances, jobs, scripts
from hostd.archive.archive import Archive
from hostd.archive.delivery_orders import Matching, Order, decide_all
from hostd.archive.job_uids import JobUids
from hostd.archive.limits import Allowance
from hostd.archive.pseudonyms import IndexPseudonyms
from hostd.archive.quieting import TOPIC as STABLE
from hostd.archive.records import Origin
from hostd.archive.room import Room
from hostd.clock import SystemClock
from hostd.config import changes
from hostd.config.permissions import private_folder, refuse_writable_by_others
from hostd.config.settings import Settings
from hostd.control import Control
from hostd.delivery import commissioner, retrieve_jobs, watching
from hostd.delivery.channels import channels_of
from hostd.delivery.configured import destinations_of, terms_of
from hostd.delivery.couriers import Couriers
from hostd.delivery.notifier import Notifiers
from hostd.delivery.providers import provider_of, providers_of
from hostd.delivery.remotes import Remotes
from hostd.delivery.retrieve_jobs import Retrieves
from hostd.delivery.retrieving import Here, Retrievals
from hostd.delivery.retry import NewestPolicy, RetryPolicy
from hostd.delivery.targets import Target, get, tellers
from hostd.dicom.element_values import Elements
from hostd.dicom.query import Question
from hostd.editing import projects
from hostd.editing.editor import WORKER, Editor
from hostd.editing.making import Maker
from hostd.editing.terms import Project
from hostd.errors import NodeError
from hostd.facts import Facts
from hostd.intake.configured import in_words, policy_of
from hostd.intake.ingest_workers import IngestWorkers, Share
from hostd.intake.intake import Intake
from hostd.jobs import dealing, modifying, packing, sending
from hostd.jobs.carrying import Carriers
from hostd.jobs.dealing import Dealing
from hostd.jobs.deleting import Deleting
from hostd.jobs.housekeeping import Housekeeping
from hostd.jobs.modifying import Modifies
from hostd.jobs.packing import Packer, Packs
from hostd.jobs.quiet import QuietTime
from hostd.jobs.running import Kind, Runner
from hostd.jobs.schedules import Schedules
from hostd.jobs.sending import Sends
from hostd.jobs.storing import REPLACE, STORE, Replacing, Storing
from hostd.jobs.timetable import Timetable, local_zone
from hostd.launcher import Launcher
from hostd.scp import storage
from hostd.scp.accepted import Accepted
from hostd.scp.acceptor import DicomListener
from hostd.scp.access import Callers
from hostd.scp.configured import accepted_of, callers_of, committing, promiser, retrieving
from hostd.scp.finding import FindService
from hostd.scp.limits import Limits
from hostd.scp.retrieve import Retriever
from hostd.scp.rows import AssociationRows
from hostd.scripting import processes
from hostd.scripting.asking import Means
from hostd.scripting.filters import Filters, Reached
from hostd.scripting.host import Limits as ScriptLimits
from hostd.scripting.host import ScriptHost
from hostd.scripting.loading import Names
from hostd.startup import served_over_tls, startup_problems
from hostd.transcoding.passing import Passing
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products
from hostd.transcoding.tool import Tool, configured, step_of
from hostd.transcoding.tools import Tools
from hostd.transcoding.transcoder import Transcoder
from hostd.transcoding.used_files import UsedFiles

if TYPE_CHECKING:
    from hostd.web.listener import HttpListener

_log = structlog.get_logger(__name__)

_STOP_GRACE_S = 10.0
_MODIFYING_SYSTEM = 64
"""Characters of the name under which changes are recorded (Modifying System, VR LO)."""


class Node:
    """A whole node in this process. `start` either brings everything up or leaves nothing running."""

    def __init__(
        self,
        settings: Settings,
        *,
        run_scripts: bool = True,
        hold_waiting: bool = False,
        launcher: Launcher | None = None,
        control: Control | None = None,
    ) -> None:
        """Start the workers of scripts by a `launcher` that may be warm already.

        `control` is what those who may can do to it by HTTP.
        """
        self.settings = settings
        self._control = control
        self._launcher = launcher
        self._run_scripts = run_scripts
        self._hold_waiting = hold_waiting
        self._clock = SystemClock()
        self.accepted = Accepted(accepted_of(settings.dicom))
        """What is accepted for storage by C-STORE; it may be told otherwise while the node runs."""
        self._callers = Callers(callers_of(settings))
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._taking = threading.Lock()
        """Held by whoever has the node go on with other settings."""

    # -- life

    def start(self) -> None:
        """Check, open the archive, start couriers and scripts, and only then open the doors.

        Raises `ConfigurationError` or `NodeError`, with everything that hinders it.
        """
        if problems := startup_problems(self.settings):
            raise NodeError("the node cannot start:\n  " + "\n  ".join(map(str, problems)))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def warm_up(self) -> None:
        """Load codecs ahead, so that the first who needs one does not wait for it. A node does without as well; it is for when all is up."""
        try:
            self._pool.warm_up()
        except OSError as error:
            _log.warning("codecs are loaded when they are needed", reason=str(error))

    def stop(self) -> None:
        """Close the doors, let what runs come to its end, commit what waits."""
        while self._undo:
            what, undo = self._undo.pop()
            try:
                undo()
            except Exception:  # noqa: BLE001 - the others are stopped all the same
                _log.exception("stopping failed", part=what)

    def _start(self) -> None:
        settings = self.settings
        self._projects = projects.configured(settings.projects)
        self._targets = _targets_of(settings)
        self._retry = NewestPolicy(_policy_of(settings))
        private_folder(settings.node.data)
        self._room = Room(settings.node.place.blobs, settings.node.refuse_below_mb)
        self.archive = Archive(settings.node.place, settings.node.name, self._clock)
        self._undo.append(("archive", self.archive.close))
        self._remotes = Remotes(self.archive, settings, self._take)
        self.settings = settings = self._remotes.settings
        self._providers = providers_of(settings, self._ask_find)
        self._callers.use(callers_of(settings))
        if self._hold_waiting:
            self._hold()
        pool = self._pool = CodecPool(
            workers=settings.transcoding.workers,
            memory_bytes=settings.transcoding.memory_mb << 20,
            time_limit_s=settings.transcoding.time_limit_s,
            worker=WORKER,
        )
        editor = self._editor_of(pool, self._projects)
        tools = Tools(
            self._tools_of(settings), settings.node.data / "tools", pool, at_once=settings.transcoding.workers
        )
        self._editor, self._tools = editor, tools
        # P4: what ingest makes replaces what was received, so that it must be proven.
        for_ingest = Transcoder(pool, tools, settings.transcoding.builtin, may_be_unverified=False)
        for_delivery = Transcoder(pool, tools, settings.transcoding.builtin, may_be_unverified=True)
        allowance = Allowance(self.archive, lambda: self.settings.storage)
        workers = self._ingest_workers(pool, for_ingest, allowance)
        self._undo.append(("ingest threads", workers.join))
        self._undo.append(("codecs", pool.close))
        self._undo.append(("tools", tools.close))
        products = Products(self.archive, for_delivery, tools, editor)
        self._passing, in_passing = self._in_passing(pool, products)
        self._start_scripts(products, pool)  # before anything that filters must be asked about can come or go
        notifiers = Notifiers(
            self.archive,
            channels_of(settings.notify, settings.node.name),
            self._retry,
            clock=self._clock,
            node_name=settings.node.name,
        )
        self._notifiers = notifiers
        notifiers.start()
        self._undo.append(("notifications", lambda: notifiers.stop(_STOP_GRACE_S)))
        couriers = Couriers(
            self.archive,
            destinations_of(settings),
            products,
            self._retry,
            clock=self._clock,
            node_name=settings.node.name,
            terms=terms_of(settings),
            ask_filters=self._filters.outgoing,
        )
        self._couriers = couriers
        couriers.start()
        self._undo.append(("couriers", lambda: couriers.stop(_STOP_GRACE_S)))
        workers.start()
        self._undo.append(("ingest", lambda: workers.stop(_STOP_GRACE_S)))
        intake = Intake(
            self.archive,
            on_conflict=settings.ingest.on_conflict,
            name_sender=self._name_sender,
            policy=policy_of(settings),
            workers=workers,
            ack_budget_s=settings.ingest.ack_budget_s,
            filters=self._filters,
            quiet_of=self._quiet_of,
            has_room=self._room.is_left,
            allowance=allowance,
        )
        # P4: what takes an original's place must be proven.
        for_replace = Products(self.archive, for_ingest, tools, editor)
        self._maker = Maker(self.archive, for_delivery, editor)
        self._packer = Packer(self.archive, self._maker)
        self._packs = Packs(self.archive, self._packer)
        self._packs.sweep()
        self._modifies = Modifies(self.archive, intake, products)
        self._start_actions(
            Storing(self.archive, intake, products), Replacing(self.archive, for_replace, allowance), intake
        )
        self._undo += [("packs", self._packs.close), ("products", products.stop), ("products", for_replace.stop)]
        self._start_rounds()
        self._open_doors(intake, in_passing, pool)
        self._undo.append(("retrieves", self._retrievals.stop))

    def _start_rounds(self) -> None:
        """Start what looks by itself whether there is something to do."""
        settings = self.settings
        quiet = QuietTime(self.archive, shortest_s=lambda: self.settings.stable.shortest_s)
        self._undo.append(("quiet time", quiet.stop))
        quiet.start()
        deleting = Deleting(self.archive)
        self._undo.append(("deleting", deleting.stop))
        deleting.start()
        runner = Runner(self.archive, self._kinds(), self._retry, at_once=settings.jobs.at_once)
        self._undo.append(("jobs", lambda: runner.stop(_STOP_GRACE_S)))
        runner.start()
        self._runner = runner
        housekeeping = Housekeeping(self.archive, lambda: self.settings, self._look_around, runner)
        self._undo.append(("housekeeping", housekeeping.stop))
        housekeeping.start()

    def _kinds(self) -> dict[str, Kind]:
        """Return who carries out which jobs, by their type."""
        sends: Kind = Sends(self.archive, self._couriers)
        own: dict[str, Kind] = {
            sending.MODALITY: sends, sending.PEER: sends, modifying.TYPE: self._modifies,
            modifying.SPLIT: self._modifies, modifying.MERGE: self._modifies,
            packing.ARCHIVE: self._packs, packing.MEDIA: self._packs,
        }  # fmt: skip
        return own | {
            kind: Retrieves(kind, lambda: self._providers, self._retrievals)
            for kind in (retrieve_jobs.MOVE, retrieve_jobs.GET)
        }

    def _start_actions(self, storing: Storing, replacing: Replacing, intake: Intake) -> None:
        self._retrievals = Retrievals(self.archive, self._here(intake))
        carriers = Carriers(
            self.archive,
            {
                STORE: storing,
                REPLACE: replacing,
                dealing.QUEUE: Dealing(self.archive),
                **tellers(self._targets, self.archive),
                **self._retrievals.executors(self._providers),
            },
            self._retry,
        )
        self._carriers = carriers
        carriers.start()
        self._undo.append(("actions", lambda: carriers.stop(_STOP_GRACE_S)))

    def _hold(self) -> None:
        """Hold the deliveries that wait from before, and pause jobs; what was being sent when a node was killed is finished."""
        if paused := self.archive.writer.do(lambda c: jobs.pause_all(c, self._clock.now())):
            _log.warning("jobs are paused (--no-jobs): `POST /jobs/ID/resume` has one go on", paused=paused)
        order = Order("hold", "hostd run --no-jobs", "", self._clock.now())
        held = len(decide_all(self.archive.writer.do, order, Matching()).done)
        if held:
            _log.warning("deliveries are held (--no-jobs): `hostd deliveries release --all` lets them go", held=held)

    def _start_scripts(self, products: Products, pool: CodecPool) -> None:
        self._scripts: ScriptHost | None = None
        settings = self.settings
        self._filters = Filters(
            self.archive,
            time_limit_s=settings.scripting.filter_time_limit_s,
            workers=settings.scripting.filter_workers,
            reached=_reached(settings),
        )
        launcher = self._launcher or processes.launcher()
        self._undo.append(("workers of scripts", launcher.close))
        self._undo.append(("filters", self._filters.close))
        if not self._run_scripts:
            self._block_filters()
            return
        settings.node.scripts.mkdir(parents=True, exist_ok=True)
        trusts_all = settings.node.allow_insecure_permissions
        zone = settings.scripting.time_zone
        timetable = Timetable(ZoneInfo(zone) if zone else local_zone())
        self._scripts = ScriptHost(
            self.archive,
            settings.node.scripts,
            entries=dict(settings.scripts),
            names=Names.of(settings),
            means=Means(  # each by what the configuration has then
                destinations=lambda name: ":".join(self.settings.resolve_destination(name)),
                tools=lambda name, args: step_of(self._tools.all, name, args),
                projects=lambda name: projects.step_of(self._projects, name),
                work_out=lambda stored, transform: products.bring(stored, transform).path.stat().st_size,
                get=lambda target, path: get(self._targets, target, path),
                query=self._query,
                measure=pool.measure,
            ),
            isolation=settings.scripting.isolation,
            limits=_limits_of(settings),
            manual=settings.scripting.reload == "manual",
            rescan_s=settings.scripting.rescan_s,
            check_file=(lambda _path: None) if trusts_all else refuse_writable_by_others,
            filters=self._filters,
            timetable=timetable,
            launcher=launcher,
        )
        self._undo.append(("scripts", self._scripts.stop))
        self._scripts.start()
        schedules = Schedules(self.archive, timetable)
        self._undo.append(("schedules", schedules.stop))
        schedules.start()

    def _block_filters(self) -> None:
        """Without scripts, let nothing pass that those which ran last would filter, as long as their files are there."""
        with self.archive.read() as connection:
            known = scripts.known(connection)
        for script in known:
            if (
                script.version is not None
                and not script.disabled
                and (self.settings.node.scripts / script.name).exists()
            ):
                self._filters.block(script.name, script.version, script.handlers, "scripts do not run (--no-scripts)")

    def _open_doors(self, intake: Intake, transcoder: Transcoder, pool: CodecPool) -> None:
        settings = self.settings
        self.dicom: DicomListener | None = None
        self.http: HttpListener | None = None
        promising = promiser(self.archive, self._couriers.destinations, self._retry)
        self._undo.append(("storage commitment", promising.stop))
        promising.start()
        if settings.dicom.enabled:
            self.dicom = DicomListener(
                host=settings.dicom.host,
                port=settings.dicom.port,
                aets=settings.dicom.aets,
                check_called_aet=settings.dicom.check_called_aet,
                store=intake,
                associations=AssociationRows(self.archive),
                on_report=lambda report: commissioner.settle(self.archive, report),
                limits=Limits(
                    associations=settings.dicom.max_associations,
                    idle_s=settings.dicom.timeout_s,
                    network_s=settings.dicom.timeout_s,
                    max_pdu=settings.dicom.max_pdu,
                ),
                clock=self._clock,
                has_room=self._room.is_left,
                tls=served_over_tls(settings.dicom),
                tls_port=settings.dicom.tls_port,
                services=[
                    FindService(
                        self.archive,
                        lambda: self.settings.query,
                        aet=settings.dicom.aets[0],
                        ask_filters=self._filters.find,
                    ),
                    *retrieving(
                        Retriever(
                            self.archive, self._passing, self._filters.outgoing, makers=settings.transcoding.workers
                        ),
                        self._callers,
                        self._couriers.destinations,
                        lambda: self.settings,
                    ),
                    committing(self.archive, self._callers, settings.dicom.aets),
                ],
                accepted=self.accepted,
                callers=self._callers,
            )
            listener = self.dicom
            listener.start()
            self._undo.append(("DICOM", lambda: listener.stop(_STOP_GRACE_S)))
        if settings.http.enabled:
            # DICOM is listening: the libraries of the HTTP face, which take a while to load, keep no sender waiting.
            from hostd.web.app import create_app  # noqa: PLC0415
            from hostd.web.listener import HttpListener  # noqa: PLC0415

            app = create_app(
                self.archive,
                intake,
                name=settings.node.name,
                dicom_aet=settings.dicom.aets[0],
                dicom_port=self.dicom.port if self.dicom else None,
                max_upload_bytes=settings.http.max_upload_mb << 20,
                upload_idle_s=settings.http.timeout_s,
                max_requests=settings.http.max_requests,
                users=lambda: self.settings.users,
                hosts=[settings.http.host],
                layers=lambda: self._scripts.layers if self._scripts else {},
                filters=self._filters,
                destinations=self._couriers.destinations,
                runner=self._runner,
                providers=lambda: self._providers,
                queries=settings.http.queries,
                synchronous_limit_s=settings.jobs.synchronous_limit_s,
                remotes=self._remotes,
                overwrites=settings.ingest.on_conflict == "newest",
                ingest=settings.ingest.target.uid if settings.ingest.target and settings.transcoding.enabled else "",
                control=self._control,
                query=lambda: self.settings.query,
                limits=lambda: self.settings.storage,
                http=lambda: self.settings.http,
                accepted=self.accepted,
                transcoder=transcoder,
                maker=self._maker,
                packs=(self._packs, self._packer),
                artist=pool,
            )
            self.http = HttpListener(
                app,
                settings.http.host,
                settings.http.port,
                served_over_tls(settings.http),
                idle_s=settings.http.timeout_s,
            )
            self.http.start()
            http = self.http
            self._undo.append(("HTTP", lambda: http.stop(_STOP_GRACE_S)))

    def _here(self, intake: Intake) -> Here:
        """Return where what other archives are had to send comes to."""
        dicom = self.settings.dicom
        return Here(dicom.aets[0] if dicom.enabled else None, partial(storage.taken, intake))

    def _ask_find(self, modality: str, question: Question) -> Question:
        """Ask the filters about a query that goes out; return it as they want it."""
        return self._filters.outgoing_find(modality, question)

    def _query(self, modality: str, question: Question, limit: int) -> list[Elements]:
        """Ask a modality for a script what it has."""
        provider = provider_of(self._providers, modality)
        return provider.find(question, most=limit, within_s=provider.query_timeout_s).matches

    # -- other settings, while it runs

    def reconfigure(self, wanted: Settings) -> None:
        """Go on with other settings: what can change while the node runs does, and the log names what cannot.

        What is in `changes.RELOADED` and `RELOADED_OF` changes; a script gets a new worker, with what it may do and name now, for its next event. Raises
        `ConfigurationError` for what cannot be used; then nothing changes.
        """
        if left := changes.waiting(self.settings, wanted):
            _log.warning("settings changed that take effect with the next start of the node", settings=left)
        self._take(self._remotes.use(changes.taken(self._remotes.of_file, wanted)))

    def _take(self, settings: Settings) -> None:
        """Go on with these settings, which differ in what can change while the node runs. Raises as `reconfigure`."""
        with self._taking:
            self._take_alone(settings)

    def _take_alone(self, settings: Settings) -> None:
        if not (sections := changes.sections(self.settings, settings)):
            return
        known_projects = projects.configured(settings.projects)
        self.settings = settings
        if "projects" in sections:
            self._projects = known_projects
            self._editor.use(known_projects)
        if "tools" in sections:
            self._tools.use(self._tools_of(settings))
        if "notify" in sections:
            self._notifiers.use(channels_of(settings.notify, settings.node.name))
        if "targets" in sections:
            former, self._targets = self._targets, _targets_of(settings)
            self._carriers.use(tellers(self._targets, self.archive, former))
        if "dicom" in sections:
            self.accepted.use(accepted_of(settings.dicom))
        self._room.refuse_below_mb = settings.node.refuse_below_mb
        if "stable" in sections:
            self.archive.bulletin.ring(STABLE)
        self._filters.time_limit_s = settings.scripting.filter_time_limit_s
        self._callers.use(callers_of(settings))
        self._retry.use(_policy_of(settings))
        if not changes.DELIVERING.isdisjoint(sections):
            before, self._providers = self._providers, providers_of(settings, self._ask_find)
            self._carriers.use(self._retrievals.executors(self._providers, before))
            self._filters.know(_reached(settings))
            self._couriers.use(destinations_of(settings), terms_of(settings))
        if self._scripts is not None:
            self._scripts.reconfigure(dict(settings.scripts), Names.of(settings), _limits_of(settings))
        _log.info("the configuration was read again", sections=sections)

    # -- what it knows

    def facts(self) -> Facts:
        """Return where the running node listens, and what it holds."""
        with self.archive.read() as connection:
            count = instances.count(connection)
        return Facts(
            name=self.settings.node.name,
            dicom=(self.settings.dicom.host, self.dicom.port) if self.dicom else None,
            http=(self.settings.http.host, self.http.port) if self.http else None,
            data=self.settings.node.data,
            scripts=self.settings.node.scripts if self._scripts else None,
            instances=count,
            layers=self._scripts.layers if self._scripts else {},
            ingest=in_words(self.settings),
            dicom_tls=(self.settings.dicom.host, self.dicom.tls_port) if self.dicom and self.dicom.tls_port else None,
            is_https=self.settings.http.certificate_file is not None,
        )

    def _ingest_workers(self, pool: CodecPool, for_ingest: Transcoder, allowance: Allowance) -> IngestWorkers:
        settings = self.settings.transcoding
        leisurely = None
        if settings.workers > 1:  # of one codec process a delivery would have to wait for what has no hurry
            leisurely = Transcoder(pool.at_leisure(), self._tools, settings.builtin, may_be_unverified=False)
        return IngestWorkers(
            self.archive, for_ingest, Share.of(settings.workers), leisurely=leisurely, allowance=allowance
        )

    def _in_passing(self, pool: CodecPool, products: Products) -> tuple[Passing, Transcoder]:
        """Return what makes instances for whoever retrieves them: it replaces nothing, and nobody keeps it, so that it needs no receipt."""
        builtin = self.settings.transcoding.builtin
        used = UsedFiles()
        codecs = pool.in_passing(used)
        transcoder = Transcoder(codecs, self._tools, builtin, may_be_unverified=True)
        several = codecs if builtin == "before" else None
        passing = Passing(self.archive, transcoder, products, used, several=several)
        self._undo.append(("what was made to be retrieved", passing.stop))
        return passing, transcoder

    def _editor_of(self, pool: CodecPool, known: dict[str, Project]) -> Editor:
        """Return what modifies and de-identifies, by the secret that all nodes on this index share."""
        archive, key = self.archive, self.archive.secret
        system = f"hostd {self.settings.node.name}"[:_MODIFYING_SYSTEM]
        return Editor(pool, key, IndexPseudonyms(archive, key), known, JobUids(archive), self._clock, system=system)

    def _tools_of(self, settings: Settings) -> dict[str, Tool]:
        """Return the tools of a configuration, and warn of those that are not there (yet)."""
        tools = configured(settings.tools)
        for tool in tools.values():
            if not tool.is_there:
                _log.warning("a tool cannot be run until its program is there", tool=tool.name, program=tool.command[0])
        return tools

    def _name_sender(self, origin: Origin) -> str | None:
        """Return the modality that sends under this AE title; where several share it, the one at this address."""
        named = {
            name: self.settings.modalities[name].host for name in self._callers.modalities_of(origin.calling_aet or "")
        }
        if len(named) > 1:
            named = {name: host for name, host in named.items() if host == origin.ip}
        return next(iter(named), None)

    def _quiet_of(self, modality: str) -> float:
        return self.settings.stable.quiet_of(modality)

    def _look_around(self) -> None:
        """See whether there is room on the disk, and whether everybody sends who is expected to."""
        self._passing.tidy()
        if self.archive.is_shared:  # another node may have been told of a modality
            self._take(self._remotes.use(self._remotes.of_file))
        settings = self.settings
        watching.disk(self.archive, settings.node.min_free_mb)
        watching.sources(
            self.archive,
            {name: source.silent_after_h * 3600 for name, source in settings.sources.items()},
            {name: (modality.aet, modality.host) for name, modality in settings.modalities.items()},
        )


def _limits_of(settings: Settings) -> ScriptLimits:
    return ScriptLimits(settings.scripting.attempts, settings.scripting.park_after, settings.scripting.max_hops)


def _targets_of(settings: Settings) -> dict[str, Target]:
    return {name: Target.of(name, target) for name, target in settings.targets.items()}


def _policy_of(settings: Settings) -> RetryPolicy:
    return RetryPolicy(first_s=settings.delivery.first_retry_s, max_s=settings.delivery.max_retry_s)


def _reached(settings: Settings) -> dict[str, Reached]:
    """Return how filters know the destinations, by `kind:name`."""
    found = {}
    for name in settings.destination_names():
        kind, plain = settings.resolve_destination(name)
        modality = settings.modalities[plain] if kind == "modality" else None
        found[f"{kind}:{plain}"] = Reached(name, modality.aet, modality.host) if modality else Reached(name)
    return found
