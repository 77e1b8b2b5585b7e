"""Witness: follows a foreign training loop event by event, and keeps what it sees: sightings, vitals, losses.

Events come from hooks and replaced functions (watch.py). Most steps cost a few microseconds; at chosen ones (Pace) the graph is
read, gradients are looked at and vitals are taken. Nothing here changes a tensor, draws a number or switches a mode.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch

from markone.training.foreign import NetSample, layers_fact
from markone.training.graph import Reading, read
from markone.training.loss_sightings import of_loss
from markone.training.modules import Modules, is_compiled, switches
from markone.training.pace import Pace
from markone.training.places import users_line
from markone.training.practice import Practice
from markone.training.probing import Probing
from markone.training.rows import MOST_ROWS, Evaluated, Rows, first_tensor
from markone.training.sightings import Sightings
from markone.training.specimens import Specimens
from markone.training.structure import Structure
from markone.training.taps import Ear, Taps, Tracing
from markone.training.vitals import norms, total_norm
from markone.training.windows import Descent, Entry, Window

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from markone.training.record import Recorder

Guard = Callable[..., None]  # calls its first argument with the others, and lets no exception out

DENSE_STEPS = 12  # all of the first are looked at: what is wrong with a loop shows in each of them
LEAST_ROWS = 256  # of each evaluation: a few milliseconds
MOST_READ = 8  # backward passes of one step whose graphs are read: the further ones of an accumulation are alike
MOST_ENTRIES = 16
MOST_SEARCHES = 20  # through everything that lives: some 50 ms each
TRACED = 2  # steps in which every node notes the line that made it
KEPT_ALIVE = 3  # steps after which nobody should hold the graph of a step any more
MOST_GRAPHS = 64
COLLAPSED = 1e-3  # of the largest learning rate


class _Alive:
    """Hangs on the root of a graph: it lives as long as somebody holds that graph."""


class Witness:
    """All that is known of one watched training."""

    def __init__(
        self, recorder: "Recorder", modules: Modules, taps: Taps, guard: Guard, *, pace: Pace, probes: bool
    ) -> None:
        self.recorder, self.modules, self.taps, self.guard = recorder, modules, taps, guard
        self.sightings = Sightings()
        self.pace = pace
        self.step = 0
        self.quiet = False  # the step that begins is not looked at, and takes no time that anybody needs to know
        self.epoch = 0.0
        self.descents: list[Descent] = []
        self.entries: list[Entry] = []
        self.compiled = False
        self.window = Window(True, time.perf_counter())
        self.probing = Probing(self) if probes else None
        self.practice = Practice(self)
        self.validated = False
        self.scales: dict[int, Any] = {}
        self.non_finite: dict[str, Any] | None = None
        self.waiting: list[tuple[int, str, torch.Tensor]] = []
        self._graphs: list[tuple[int, str | None, ref[_Alive]]] = []
        self.missing: dict[int, Counter[bool]] = {}
        self.missing_tensors: dict[int, torch.Tensor] = {}
        self.cut: Counter[str] = Counter()
        self.ran: dict[str, int] = {}
        self._rows = Rows()
        self.specimens = Specimens()
        self.training_rows: set[int] = set()
        self.evaluated: dict[str, Evaluated] = {}
        self.labels: list[tuple[int, int, int, bool, int]] = []  # step, first, last, sorted, distinct
        self.last_loss: float | None = None
        self.rows_of_batch = 0  # of the largest one that a net was trained with
        self.backward_place: str | None = None
        self.step_functions: list[str] = []  # in the graph that was read last
        self._versions: dict[int, int] = {}
        self.picks_rows = (
            False  # the loss takes some rows of the outputs only, so that being shown is not being trained on
        )
        self._layers_known = False
        self._searches = 0
        self._strangers: set[int] = set()
        self._loader: int | None = None
        self._loader_step = 0
        self._net_handles: list[Any] = []
        self._traced = 0
        self.tracing = Tracing()
        self.structure: Structure | None = None
        self._stepping = self._closure = False
        self.told = False  # of steps, by who takes them

    # --- what is looked at ---------------------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        """Whether the step that begins is looked at; with several optimizers one step of each, in turn."""
        if self.step < DENSE_STEPS:
            return True
        optimizers = len(self.descents)
        in_turn = optimizers > 1 and self.window.inspected and self.step % optimizers != 0
        return in_turn or self.pace.due(self.step)

    def _open(self) -> Window:
        window = self.window
        if window.stepped:
            inspected = not self.quiet and self._is_due()
            fresh = inspected or window.inspected
            if window.sample is not None:
                window.sample.detach()
            self.window = window = Window(inspected, time.perf_counter()) if fresh else window.again()
        return window

    def trace_lines(self) -> None:
        """Lets the first graphs note which line made each node; off in backward passes, which it would let print warnings."""
        if (on := self._traced < TRACED and not self.compiled) != self.tracing.is_on:
            self.tracing.turn(on=on)

    # --- nets ----------------------------------------------------------------------------------------------------------------------

    def meet_nets(self) -> None:
        """Listens to every net that the script may call."""
        for name, net in self.modules.roots.items():
            self._add_entry(name, net)

    def find_nets(self, parameters: "list[torch.Tensor]") -> None:
        """Looks for the nets of parameters that none of the known ones has, a few times: for a free tensor there is none to be found."""
        unknown = [one for one in parameters if not self.modules.knows(one)]
        if not unknown or self.modules.given or self._searches >= MOST_SEARCHES:
            return
        began = time.perf_counter()
        self._searches += 1
        self.modules.search(unknown)
        self.compiled |= any(is_compiled(net) for net in self.modules.roots.values())
        self.meet_nets()
        self.pace.cost_seconds += time.perf_counter() - began

    def _add_entry(self, name: str, net: "nn.Module") -> None:
        from torch import nn

        if len(self.entries) >= MOST_ENTRIES or any(one.net is net for one in self.entries):
            return
        if (self.compiled and not is_compiled(net)) or isinstance(net, nn.TransformerEncoderLayer):
            return  # with a hook on it torch computes the latter otherwise, and to other values
        entry = Entry(name, net, has_switches=next(switches(net), None) is not None)
        self.entries.append(entry)
        if getattr(net, "_compiled_call_impl", None) is None:
            self._net_handles.append(net.register_forward_pre_hook(self._ear(entry), with_kwargs=True))
            self.taps.add(self._net_handles[-1])
            if type(net).__name__ == "DistributedDataParallel":
                inner = net.get_submodule("module").register_forward_pre_hook(self._inner_ear(entry), with_kwargs=True)
                self._net_handles.append(inner)
                self.taps.add(inner)

    def _ear(self, entry: Entry) -> Ear:
        """Hears that a net is called: in the midst of a training that is one more pass, and nothing else."""
        guard, enter, order = self.guard, self._enter, entry.order

        def hear(net: "nn.Module", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            if self.quiet and order.over and net.training and torch.is_grad_enabled():
                entry.forwards += 1
            else:
                guard(enter, entry, net, arguments, options)

        return Ear(hear)

    def _inner_ear(self, entry: Entry) -> Ear:
        """Hears that what is spread over processes is evaluated without its wrapper, as it may be."""
        guard, evaluates = self.guard, self._evaluates

        def hear(net: "nn.Module", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            if not torch.is_grad_enabled():
                guard(evaluates, entry, net.training, arguments, options)

        return Ear(hear)

    def _enter(self, entry: Entry, net: "nn.Module", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """A net is called."""
        if entry not in self.entries:
            return
        training, graph = net.training, torch.is_grad_enabled()
        if not graph:
            self._evaluates(entry, training, arguments, options)
            return
        window = self._open()
        if entry.first_mode is None:
            entry.first_mode = training
        entry.forwards += 1
        if training and entry.order.over and not window.inspected:
            return
        batch = first_tensor(arguments, options)
        if batch is None:
            return
        if training and not entry.order.over and batch.is_cpu:
            entry.order.look(batch)
        if not training and entry.first_mode is not False:
            self._remember_rows(entry, batch)
        elif window.inspected and len(self.training_rows) < MOST_ROWS:
            self.training_rows.update(self._rows.hashes(batch))
        if window.inspected:
            self._attach(entry, window, batch, arguments, options)

    def _attach(
        self, entry: Entry, window: Window, batch: "torch.Tensor", arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        window.rows = len(batch) if batch.ndim else 0
        self.rows_of_batch = max(self.rows_of_batch, window.rows)
        entry.place = entry.place or users_line()
        giver = window.outputs.get(batch.data_ptr())
        if giver is not None and giver is not entry:
            giver.feeds_another = True
        if window.sample is None and window.backwards == 0 and not self.compiled:
            window.sample = NetSample(self.modules.layers(), self.guard, self.taps)
            if "structure" not in self.recorder.known_facts and self.structure is None and self.step < DENSE_STEPS:
                self.structure = Structure(self.modules.layers(), lambda hear: Ear(partial(self.guard, hear)))
                self.taps.add(*self.structure.handles)
        if self.structure is not None and entry.forwards > 1:
            self.structure.forget()
        self.specimens.shown(entry.name, batch)
        if self.probing is not None:
            self.probing.calls(entry, arguments, options)
        self.practice.called(entry, arguments, options)
        handle: list[Any] = []

        def leave(_net: "nn.Module", _inputs: Any, outputs: Any) -> None:
            self.taps.drop(handle)
            first = first_tensor((outputs,)) if outputs is not None else None
            if first is not None:
                window.outputs[first.data_ptr()] = entry
            if self.probing is not None:
                self.probing.returned(entry, outputs)
            self.practice.precision.returned(entry, outputs)

        handle.append(entry.net.register_forward_hook(Ear(partial(self.guard, leave))))
        self.taps.add(*handle)

    def _evaluates(self, entry: Entry, training: bool, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.pace.pause()
        entry.evaluations += 1
        self.practice.scores.called(entry.name, entry.net)
        entry.evaluated_before = True
        entry.blind[training] += 1
        if training and self.step and entry.blind_place is None:
            entry.blind_place, entry.blind_step = users_line(), self.step
        batch = first_tensor(arguments, options)
        if batch is not None and self.step:
            self._remember_rows(entry, batch)

    def _remember_rows(self, entry: Entry, batch: "torch.Tensor") -> None:
        """Rows that were evaluated on, by the line that did it: some whatever it costs, more while the budget affords them."""
        began = time.perf_counter()
        kept = self.evaluated.setdefault(f"{entry.name}|{users_line()}", Evaluated())
        kept.passed(self.step, training=entry.net.training, taught=self._steps_of(entry))
        if len(kept.rows) < LEAST_ROWS or (len(kept.rows) < MOST_ROWS and self.pace.affords(began)):
            kept.add(self._rows.hashes(batch))
        self.specimens.judged(entry.name, batch)
        self.pace.cost_seconds += time.perf_counter() - began

    def _steps_of(self, entry: Entry) -> int:
        """How many steps were taken with parameters of this net."""
        own = {id(one) for one in entry.net.parameters()}
        return sum(one.steps for one in self.descents if any(id(held) in own for held in one.parameters))

    # --- backward ------------------------------------------------------------------------------------------------------------------

    def before_backward(self, tensors: Any) -> None:
        """A backward pass begins at these roots."""
        root = tensors
        if not isinstance(tensors, torch.Tensor):
            root = next((one for one in tensors or () if one is not None), None)
        if root is None:
            return
        window = self._open()
        window.backwards += 1
        window.closed_form |= self._stepping
        for descent in self.descents:
            descent.backwards += 1
        for entry in self.entries:
            if entry.forwards > 1:
                self._settle(entry)
            entry.forwards = 0
        if root.numel() == 1:
            self._see_value(window, root)
        if window.inspected and window.backwards <= MOST_READ:
            self._inspect(window, root)
        if self.tracing.is_on:
            self.tracing.turn(on=False)

    def _see_value(self, window: Window, root: "torch.Tensor") -> None:
        """The loss as a number, where reading it does not make the host wait."""
        on_host = root.is_cpu
        if window.inspected or not on_host:
            window.loss = root.detach()
        window.value = root.item() if on_host else None
        if window.value is not None and not math.isfinite(window.value) and self.non_finite is None:
            self._not_finite(root)

    def leave_nets(self) -> None:
        """torch.compile takes over: hooks inside what it compiles would change that, so all nets but the compiled ones are left."""
        self.compiled = True
        for entry in self.entries:
            entry.order.over = True
        self.entries = [entry for entry in self.entries if is_compiled(entry.net)]
        self.taps.drop(self._net_handles)
        self._net_handles = []
        self.trace_lines()

    def iterated(self, loader: Any) -> None:
        """A DataLoader begins anew: an epoch, if it is the one that is trained from."""
        if self._loader is None or self.step > self._loader_step:
            self._loader = self._loader or id(loader)
        if id(loader) == self._loader and self.step > self._loader_step:
            self.epoch += 1.0
            self._loader_step = self.step

    @property
    def evaluated_count(self) -> int:
        return max((len(one.rows) for one in self.evaluated.values()), default=0)

    @property
    def call_place(self) -> str | None:
        """The line that calls the net that is trained."""
        return next((one.place for one in self.entries if one.trained and one.place), None)

    def unseen(self) -> list[str]:
        """What cannot be seen of this training, in sentences."""
        sentences = []
        if self.compiled:
            sentences.append(
                "Nets under torch.compile are opaque: their layers, modes and losses cannot be looked into."
            )
        if not self.entries and self.step:
            sentences.append("No net was called as a module: only its backward passes and steps were seen.")
        if self.told:
            sentences.append("The optimizer is none of torch's: only its steps are known, not what it does.")
        elif not self.descents:
            sentences.append("No optimizer was made: steps that a script takes by itself cannot be followed.")
        return sentences

    def _settle(self, entry: Entry) -> None:
        """Passes with a graph that no backward pass followed were an evaluation, if there were many of them in a row."""
        extra = entry.forwards - 1
        if extra > 1 and entry.evaluated_before is False and not entry.net.training and entry.first_mode:
            entry.evaluations += extra
        if extra > 0 and entry.first_mode:
            entry.unused[entry.net.training] += extra

    def _inspect(self, window: Window, root: "torch.Tensor") -> None:
        place, reading = users_line(), read(root)
        self.backward_place = self.backward_place or place
        window.readings += 1
        window.lines.append(place)
        for descent in self.descents:
            grads = [one.grad for one in descent.parameters if one.grad is not None]
            held = bool(grads) and any(float(norm) > 0 for norm in norms([one for one in grads if not one.is_sparse]))
            descent.spent = descent.spent and held
            descent.carried = descent.spent
        reached = set(reading.leaves)
        window.reached |= reached
        window.newest = max(window.newest, reading.newest)
        self.step_functions = reading.step_functions
        self._see_loss(window, reading, root, place)
        self._see_leaves(reading, place)
        self._go_inside(reading)
        self._see_age(reading, place)
        if reading.root is not None:
            alive = _Alive()
            reading.root.metadata["markone"] = alive
            self._graphs.append((self.step, place, ref(alive)))
            del self._graphs[:-MOST_GRAPHS]
        if self.structure is not None:
            self._describe(self.structure, reading)
        if self.probing is not None:
            self.probing.reads(reading, scale=self._scale(window))
        self.practice.reads(reading)
        if window.backwards == 1:
            self._traced += 1

    def _describe(self, structure: Structure, reading: Reading) -> None:
        """What the nets are made of, as the first loss that goes through them shows it."""
        self.structure = None
        self.taps.drop(structure.handles)
        for name, fact in structure.facts(reading).items():
            self.recorder.fact(name, fact, step=self.step)

    def _scale(self, window: Window) -> float:
        scaler = next(iter(self.scales.values()), None)
        return float(scaler.get_scale()) if window.scaled and scaler is not None else 1.0

    def _see_loss(self, window: Window, reading: Reading, root: "torch.Tensor", place: str | None) -> None:
        maximized = any(group.get("maximize", False) for one in self.descents for group in one.optimizer.param_groups)
        scale = self._scale(window)
        window.weights.append(_total_weight(reading, scale))
        for seen in of_loss(reading, maximized=maximized, scale=scale, alone=len(self.descents) <= 1):
            at = seen.place or place
            self.sightings.saw(seen.kind, place, seen.hit, step=self.step + 1, place=at, **seen.details)
        self.picks_rows |= any(1 < term.rows < window.rows for term in reading.terms)
        for term in reading.terms:
            target = term.saved("target")
            if term.kind in ("nll", "bce", "bce-with-logits") and target is not None:
                self._see_labels(target)

    def _see_labels(self, target: "torch.Tensor") -> None:
        labels = target.detach().reshape(-1)
        if (target.ndim > 1 and target.shape[-1] > 1) or len(labels) < 4 or len(labels) > 100_000:
            return
        values = labels.tolist()
        if len(set(values)) <= 1000 and all(value == int(value) for value in values):
            ordered = all(a <= b for a, b in pairwise(values))
            self.labels.append((self.step, int(values[0]), int(values[-1]), ordered, len(set(values))))

    def _see_leaves(self, reading: Reading, place: str | None) -> None:
        """Which parameters the loss reaches, and which of these nobody changes."""
        from torch import nn

        held = {id(one) for descent in self.descents for one in descent.parameters}
        for entry in self.entries:
            if not entry.trained:
                keys = reading.leaves.keys() & held if held else reading.leaves.keys()
                entry.trained = any(id(one) in keys for one in entry.net.parameters())
        if held and not held & reading.leaves.keys():
            self.cut[place or ""] += 1
        strangers = {key for key, leaf in reading.leaves.items() if isinstance(leaf, nn.Parameter)} - self._strangers
        self._strangers |= strangers
        self.find_nets([reading.leaves[key] for key in strangers])
        for key, leaf in reading.leaves.items():
            if key not in held and isinstance(leaf, nn.Parameter) and held:
                self.missing_tensors[key] = leaf
                root = self.modules.root_of(leaf) if key not in self.missing else None
                training = root[1].training if root else True
                self.missing.setdefault(key, Counter())[training] += 1

    def _go_inside(self, reading: Reading) -> None:
        """A net that learns and is never called itself holds the nets that are called, as a LightningModule does."""
        for entry in self.entries.copy():
            silent = entry.first_mode is None and not entry.evaluations and not self.compiled
            if silent and any(id(one) in reading.leaves for one in entry.net.parameters()):
                self.entries.remove(entry)
                for name, net in entry.net.named_children():
                    if next(net.parameters(), None) is not None:
                        self._add_entry(
                            name if entry.net in self.modules.roots.values() else f"{entry.name}.{name}", net
                        )

    def _see_age(self, reading: Reading, place: str | None) -> None:
        oldest = min((one.newest for one in self.descents if one.steps), default=0)
        old = reading.older_than(oldest) if oldest else 0
        self.sightings.saw(
            "memory-growth", "old", old > 0, step=self.step + 1, place=place, nodes=old, of=len(reading.nodes)
        )
        held = [
            (step, at) for step, at, alive in self._graphs if self.step - step >= KEPT_ALIVE and alive() is not None
        ]
        self.sightings.saw(
            "memory-growth", "held", len(held) >= KEPT_ALIVE, step=self.step + 1, place=place, graphs=len(held)
        )

    def after_backward(self) -> None:
        self.trace_lines()
        window = self.window
        if not window.inspected or window.backwards > MOST_READ:
            return
        if window.sample is not None:
            window.sample.detach()
            window.sample.after_backward()
            if window.closed_form or not self.descents:  # nobody will say that the step begins
                window.sample.before_step()
        for descent in self.descents:
            descent.norm = _gradient_norm(descent.parameters)
            if window.closed_form and not window.looked:
                self._see_gradients(descent)
        window.looked |= window.closed_form
        self.practice.precision.after_backward(window)

    def backward_failed(self, tensors: Any, error: BaseException) -> None:
        """A backward pass raised: the script will most likely end with it."""
        self.trace_lines()
        if "does not require grad" not in str(error):
            return
        ran = [entry for entry in self.entries if entry.forwards or entry.evaluations]
        frozen = [one for descent in self.descents for one in descent.parameters if not one.requires_grad]
        every = [one for descent in self.descents for one in descent.parameters]
        if every and len(frozen) == len(every):
            names = [self.modules.name(one) for one in frozen]
            place, total = self.descents[0].place, len(every)
            kind = "frozen-parameters-trained-for-nothing"
            self.sightings.saw(kind, None, True, step=self.step + 1, place=place, names=names, total=total)
            return
        kind = "graph-detached" if any(one.requires_grad for one in every) or not every else "no-gradient"
        names = [entry.name for entry in ran]
        self.sightings.saw(kind, None, True, step=self.step + 1, place=users_line(), raised=True, nets=names)

    def _not_finite(self, root: "torch.Tensor") -> None:
        from markone.training.autopsy import autopsy

        self.non_finite = {
            "step": self.step + 1,
            "loss": "nan" if math.isnan(root.item()) else "inf",
            "place": users_line(),
            **autopsy(root, self.modules, self.probing.last_call if self.probing else None),
        }
        self.recorder.fact("non_finite", self.non_finite, step=self.step + 1)

    def not_finite_outputs(self, *, place: str | None) -> None:
        """A loss refused what it was given, for there were values among it that are no numbers."""
        if self.non_finite is None:
            call = self.probing.last_call if self.probing is not None else None
            module = call.first_bad_module() if call is not None else None
            self.non_finite = {"step": self.step + 1, "loss": "nan", "place": place, "module": module}
            self.recorder.fact("non_finite", self.non_finite, step=self.step + 1)

    # --- steps ---------------------------------------------------------------------------------------------------------------------

    def meet_optimizer(self, optimizer: "Optimizer", *, name: str | None, place: str | None) -> Descent:
        """Takes a new optimizer into account."""
        taken = [one.name for one in self.descents]
        plain = name or type(optimizer).__name__
        names = [plain, *(f"{plain}_{number}" for number in range(2, len(taken) + 3))]
        descent = Descent(optimizer, next(one for one in names if one not in taken), place)
        self.descents.append(descent)
        self._versions |= {id(one): one._version for one in descent.parameters}
        return descent

    def changed_by_hand(self, descent: Descent) -> bool:
        """Whether somebody else than the optimizer has written to its parameters since it was met."""
        return any(self._versions.get(id(one)) != one._version for one in descent.parameters)

    def descent_of(self, optimizer: "Optimizer") -> Descent:
        for one in (optimizer, inner := innermost(optimizer)):
            for descent in self.descents:
                if descent.optimizer is one:
                    return descent
        return self.meet_optimizer(inner, name=None, place=None)

    def before_step(self, optimizer: "Optimizer", closure: bool) -> None:
        descent = self.descent_of(optimizer)
        window = self._open() if closure and not descent.backwards else self.window
        self._stepping, self._closure = True, closure
        if not window.inspected or window.stepped:
            return
        if window.sample is not None:
            window.sample.before_step()
        if not closure:
            self._see_use(descent)

    def _see_use(self, descent: Descent) -> None:
        """The gradients that a step is taken along."""
        norm = _gradient_norm(descent.parameters)
        before = descent.norm
        if descent.backwards and before is not None and float(before) > 0:
            cleared = norm is None or float(norm) == 0
            self._saw_step(descent, "step-without-backward", cleared, cleared=True)
        self._see_gradients(descent)

    def _saw_step(self, descent: Descent, kind: str, hit: bool, **details: Any) -> None:
        place = users_line() if hit else None
        self.sightings.saw(kind, descent.name, hit, step=self.step + 1, place=place, **details)

    def _see_gradients(self, descent: Descent) -> None:
        """For every parameter: whether it has a gradient, none, or one that is exactly zero."""
        parameters = descent.parameters
        given = [(one, one.grad) for one in parameters if one.grad is not None and not one.grad.is_sparse]
        sizes = torch.stack(norms([grad for _, grad in given])).tolist() if given else []
        zero = {id(one) for (one, _), size in zip(given, sizes, strict=True) if size == 0}
        for one in parameters:
            state = "frozen" if not one.requires_grad else "none" if one.grad is None else "given"
            state = "zero" if id(one) in zero else state
            descent.gradients.setdefault(id(one), Counter())[state] += 1

    def after_step(self, optimizer: "Optimizer") -> None:
        """An optimizer has changed the weights."""
        descent, window = self.descent_of(optimizer), self.window
        self._stepping = False
        if self._closure and window.inspected and not window.stepped and not window.closed_form:
            self._see_use(descent)  # the closure made none: such is Lightning's in manual optimization
        if descent.backwards == 0:
            self._saw_step(descent, "step-without-backward", True, cleared=False)
        self.step += 1
        descent.steps += 1
        self._take_rates(descent)
        if descent is self.descents[0]:
            self._take_loss(window)
        if window.inspected:
            self._close(descent, window)
        descent.backwards, descent.spent, descent.carried = 0, True, False
        descent.norm, descent.unscaled = None, False
        if self.probing is not None and not self.probing.over and descent.steps >= 2:
            self.probing.run()
        window.stepped = True
        quiet = self.step < self.pace.quiet_until and (len(self.descents) == 1 or not window.inspected)
        if quiet and not self.quiet:
            self.pace.pause()
        self.quiet = quiet

    def stepped(self) -> None:
        """A step that no optimizer of torch has taken."""
        self.told = True
        window = self.window
        self.step += 1
        self._take_loss(window)
        if window.inspected:
            self._close(None, window)
        if self.probing is not None and not self.probing.over and self.step >= 2:
            self.probing.run()
        window.stepped = True

    def _take_rates(self, descent: Descent) -> None:
        groups = descent.optimizer.param_groups
        rate = float(groups[0]["lr"]) if len(groups) == 1 else max(float(group["lr"]) for group in groups)
        largest, low = descent.rates
        if rate > largest:
            descent.rates = (rate, low)
        elif rate <= COLLAPSED * largest:
            descent.rates = (largest, low + 1)
            descent.collapsed_step = descent.collapsed_step or self.step
        if descent is self.descents[0]:
            self.recorder.scalar((self.step, self.epoch, "batch", "lr", rate))

    def _take_loss(self, window: Window) -> None:
        recorder = self.recorder
        if window.value is not None:
            self.last_loss = window.value / self._scale(window) if window.scaled else window.value
            recorder.scalar((self.step, self.epoch, "batch", "loss", self.last_loss))
        elif window.loss is not None:  # reading it now would make the host wait
            self.waiting.append((self.step, "loss", window.loss.clone()))
            if len(self.waiting) >= 256:
                self.arrive()
        if recorder.flush_is_due:
            recorder.flush()

    def arrive(self) -> None:
        values = torch.stack([value.reshape(()).float() for _, _, value in self.waiting]).tolist()
        self.recorder.scalars(
            (step, self.epoch, "batch", name, value)
            for (step, name, _), value in zip(self.waiting, values, strict=True)
        )
        self.waiting = []

    def _close(self, descent: Descent | None, window: Window) -> None:
        """What the whole step shows, after it is taken."""
        if descent is not None:
            if not window.closed_form:
                self._saw_step(descent, "zero-grad-missing", descent.carried)
                self._see_accumulation(descent, window)
            descent.newest = window.newest
        for name, rows, values in window.sample.batches if window.sample else ():
            tiny = rows <= 2 or values <= 8
            self.sightings.saw(
                "batch-norm-tiny-batch", name, tiny, step=self.step, place=self.call_place, rows=rows, values=values
            )
        for entry in self.entries:
            if entry.trained and window.backwards:
                self._see_mode(entry, descent.parameters if descent is not None else list(entry.net.parameters()))
        if window.sample is not None and not window.stepped:
            self._take_vitals(window.sample, window)
        self.pace.charge(self.step, time.perf_counter() - window.began)

    def _see_accumulation(self, descent: Descent, window: Window) -> None:
        if len(window.lines) < 2 or window.lines[0] is None:
            return
        line, count = Counter(window.lines).most_common(1)[0]
        weights = [weight for at, weight in zip(window.lines, window.weights, strict=False) if at == line]
        if count < 2 or any(weight is None for weight in weights):
            return
        total = sum(weight for weight in weights if weight is not None) * window.backwards / len(window.lines)
        self.sightings.saw(
            "accumulation-not-divided",
            descent.name,
            total > 1.5,
            step=self.step,
            place=line,
            passes=window.backwards,
            weight=total,
            adaptive=descent.is_adaptive,
        )

    def _see_mode(self, entry: Entry, parameters: "list[torch.Tensor]") -> None:
        """Whether a net that is trained is in evaluation mode while it is."""
        if not entry.has_switches or not any(True for _ in _trained_switches(entry.net, parameters)):
            return
        stuck = not entry.net.training
        kind = "stuck-in-eval-mode" if entry.first_mode is False else "train-mode-after-validation-missing"
        self.sightings.saw(kind, entry.name, stuck, step=self.step, place=users_line() if stuck else None)

    def _take_vitals(self, sample: NetSample, window: Window) -> None:
        if not self._layers_known and sample.order:
            self.recorder.fact("layers", layers_fact(sample.order))
            self._layers_known = True
        self.ran |= sample.ran
        repeat = self.probing.repeat if self.probing is not None and sample.is_small else None
        loss = window.loss if window.backwards == 1 else None
        rows = sample.finish(loss, repeat)
        self.recorder.vitals((self.step, *row) for row in rows)

    # --- other calls ---------------------------------------------------------------------------------------------------------------

    def clipped(self, parameters: Any, most: float, total: Any) -> None:
        """clip_grad_norm_ has brought a gradient down to ``most``."""
        window = self.window
        if not window.inspected:
            return
        listed = [parameters] if hasattr(parameters, "grad") else list(parameters)
        keys = {id(one) for one in listed}
        for descent in self.descents:
            if not keys & {id(one) for one in descent.parameters}:
                continue
            place = users_line()
            if window.scaled:
                hit = not descent.unscaled
                self.sightings.saw("unscaled-clip", descent.name, hit, step=self.step + 1, place=place, most=most)
            descent.clips.append(float(total) / max(float(most), 1e-30) / self._scale(window))
            descent.clip_place = place

    def scaled(self, scaler: Any) -> None:
        """GradScaler.scale was called on a loss."""
        self._open().scaled = True
        self.scales[id(scaler)] = scaler

    def unscaled(self, optimizer: "Optimizer") -> None:
        self.descent_of(optimizer).unscaled = True

    def scaler_stepped(self, optimizer: "Optimizer", steps_before: int) -> None:
        """GradScaler.step has come back: with the optimizer's step, or without it."""
        descent = self.descent_of(optimizer)
        skipped = descent.steps == steps_before
        self.sightings.saw(
            "skipped-steps", descent.name, skipped, step=self.step + 1, place=users_line() if skipped else None
        )
        if skipped:
            descent.skipped += 1
            descent.backwards = 0
            self.window.stepped = True

    def scheduled(self, scheduler: Any) -> None:
        """A schedule was stepped by the script."""
        optimizer = getattr(scheduler, "optimizer", None)
        if getattr(scheduler, "_is_initial", False) or optimizer is None:
            return
        descent = self.descent_of(optimizer)
        descent.schedule_place = descent.schedule_place or users_line()
        descent.schedule = type(scheduler).__name__
        self.practice.scheduled(scheduler, descent)
        early = descent.steps == 0 and not descent.skipped
        if early:
            self._saw_step(descent, "scheduler-before-optimizer", True)


def innermost(optimizer: "Optimizer") -> "Optimizer":
    """The optimizer that takes the steps, inside those that only pass them on, such as Accelerate's."""
    inner = vars(optimizer).get("optimizer")
    return innermost(inner) if inner is not None and not isinstance(inner, type(optimizer)) else optimizer


def _total_weight(reading: Reading, scale: float) -> float | None:
    weights = [term.weight for term in reading.terms]
    if not weights or any(weight is None for weight in weights):
        return None
    return max(weight for weight in weights if weight is not None) / scale


def _gradient_norm(parameters: "list[torch.Tensor]") -> "torch.Tensor | None":
    grads = [one.grad for one in parameters if one.grad is not None and not one.grad.is_sparse]
    return total_norm(norms(grads)) if grads else None


def _trained_switches(net: "nn.Module", parameters: "list[torch.Tensor]") -> Any:
    """Dropout of a net most of which is trained, and batch normalization that is trained itself."""
    held = {id(one) for one in parameters if one.requires_grad}
    every = list(net.parameters())
    most = 2 * sum(id(one) in held for one in every) > len(every)
    for name, module in switches(net):
        own = list(module.parameters(recurse=False))
        if any(id(one) in held for one in own) or (most and not own):
            yield name
