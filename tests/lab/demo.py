# SPDX-License-Identifier: Apache-2.0
"""demo [start]       build everything, show what the policy allows and refuses, leave it running
demo stop          remove every trace (the cache of the guest kernel in /var/cache/bulkhead-lab stays)
demo status        what runs, and how to log in to the web console
demo sh NODE [CMD] a shell in a guest (web, web2, db, admin, attacker) or on a machine (h1, h2, mgr, sw)
demo bulkhead ...  the command line on the management machine, e.g. demo bulkhead flow
"""
import concurrent.futures
import fcntl
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from labkit import console, image, manager, migrate, util  # noqa: E402
from labkit.agent import Agent  # noqa: E402
from labkit.lab import Lab  # noqa: E402

NAME = os.environ.get("BULKHEAD_DEMO", "demo")
START = float(os.environ.get("DEMO_STARTED") or time.time())
POLICY = f"{util.ROOT}/examples/shop.yaml"

#         name        host  address          tenant   labels
GUESTS = [("web", 1, "10.78.0.11", "shop", {"role": "web"}),
          ("web2", 2, "10.78.0.12", "shop", {"role": "web"}),
          ("db", 2, "10.78.0.13", "shop", {"role": "db"}),
          ("admin", 1, "10.78.0.14", "shop", {"role": "admin"}),
          ("attacker", 1, "10.78.0.66", "rival", {"role": "attacker"})]

#            from        to      protocol, port   what examples/shop.yaml says about it, and where
ATTEMPTS = [("web", "db", "tcp", 3306, "allow", "from-web"),
            ("web2", "db", "tcp", 3306, "allow", "from-web"),
            ("admin", "db", "tcp", 22, "allow", "admins"),
            ("admin", "web", "tcp", 22, "allow", "admins"),
            ("web", "admin", "icmp", 0, "allow", "shop/ping"),
            ("attacker", "web", "tcp", 80, "allow", "shoppers"),
            ("web", "db", "tcp", 22, "refuse", "implicit deny"),
            ("db", "web", "tcp", 80, "refuse", "implicit deny"),
            ("admin", "db", "tcp", 3306, "refuse", "elsewhere-in-the-shop"),
            ("attacker", "db", "tcp", 3306, "refuse", "implicit deny"),
            ("attacker", "db", "tcp", 22, "refuse", "ssh-from-others"),
            ("attacker", "web", "tcp", 22, "refuse", "ssh-from-others"),
            ("attacker", "admin", "icmp", 0, "refuse", "implicit deny")]
PORTS = (22, 80, 3306)


def step(text):
    print(f"[{time.time() - START:5.1f} s] {text}", flush=True)


def build():
    folder = manager.build_dir()
    if not os.path.exists(f"{folder}/build.ninja"):
        util.run("meson", "setup", folder, util.ROOT, timeout=300)
    targets = list(manager.PROGRAMS.values())
    with subprocess.Popen(["ninja", "-C", folder, *targets], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as ninja:
        lines, shown = [], time.time()
        for line in ninja.stdout:
            lines.append(line)
            if time.time() - shown > 5:
                step(f"  {line.split(']')[0].lstrip('[')} files")
                shown = time.time()
    if ninja.returncode:
        raise util.LabError("the build failed:\n" + "".join(lines[-40:]))


def start_world(has_console):
    step("guest kernel and initrd")
    kvm = image.probe_kvm()
    image.initrd()
    step(f"two hypervisor hosts, a libvirtd each (guests by {'KVM' if kvm else 'emulation: no usable KVM here'})")
    lab = Lab(NAME, hosts=2).up(bulkhead=True)
    if lab.nat_missing:
        step(f"  without libvirt's NAT network: {lab.nat_missing}")
    step("bulkheadd with its nats-server; both hosts enrol")
    lab.manager.configure(console_dir=console.DIST if has_console else "")
    lab.manager.start_all()
    step(f"policy {os.path.relpath(POLICY, util.ROOT)}")
    lab.manager.sh(f"cd {util.ROOT} && {manager.program('bulkhead')} policy apply "
                   f"{os.path.relpath(POLICY, util.ROOT)} --wait=20")
    step("guests: " + ", ".join(f"{name} on h{host}" for name, host, *_ in GUESTS))
    guests = [lab.host(host).guest(name, address=f"{address}/24", tenant=tenant, labels=labels)
              for name, host, address, tenant, labels in GUESTS]
    lab.start_guests(*guests)
    lab.manager.wait_in_sync()
    for guest in guests:
        for port in PORTS:
            guest.serve(port, mode="http" if port == 80 else "echo")
    return lab


def attempt(lab, source, target, proto, port):
    guest, address = lab.guests[source], lab.guests[target].address
    if proto == "icmp":
        return "connected" if guest.ping(address) else "timeout"
    return guest.tcp(address, port, send="hello\n" if port != 80 else "GET / HTTP/1.0\r\n\r\n", timeout_ms=1200)


def spoof(lab):
    """The attacker claims to be web: with its IP address, and with its name in an ARP reply."""
    from scapy.all import ARP, Ether, IP, TCP  # pylint: disable=import-outside-toplevel
    evil, web, db = (lab.guests[n] for n in ("attacker", "web", "db"))
    evil.send(Ether(src=evil.mac, dst=db.mac) / IP(src=web.address, dst=db.address) / TCP(dport=3306),
              Ether(src=evil.mac, dst=db.mac) / ARP(op=2, hwsrc=evil.mac, psrc=web.address, pdst=db.address))


def matches(flow, lab, source, target, proto, port):
    return (flow.get("src") == lab.guests[source].address and flow.get("dst") == lab.guests[target].address and
            str(flow.get("proto")).lower() in (proto, {"tcp": "6", "icmp": "1"}[proto]) and
            (proto == "icmp" or flow.get("dport") == port) and
            str(flow.get("type", "")) in ("flow.new", "flow.refused"))


def find_flows(lab, attempts, timeout=10):
    """One record per attempt: a refusal where there is one."""
    def look():
        flows = lab.manager.flows("--since", "600s")
        found = []
        for one in attempts:
            mine = [f for f in flows if matches(f, lab, *one[:4])]
            mine.sort(key=lambda f: (f["type"] == "flow.refused", one[5] in rule_text(f)))
            found.append(mine[-1] if mine else None)
        look.found = found
        return all(found)
    try:
        util.wait_until("flow records", look, timeout, 0.3)
    except util.LabError:
        pass
    return look.found


def rule_text(flow):
    """The rule that decides: of what is allowed the one at the receiver, where the record knows it."""
    flow = flow or {}
    both = [flow.get("rule_text"), flow.get("other_rule_text")]
    text = (both[1] if flow.get("dir") == "egress" and flow.get("type") == "flow.new" else "") or both[0] or "?"
    return text.split("): ")[0] + ")" if "): " in text else text.split(": a policy")[0]


def verdict_of(flow):
    if not flow:
        return "no record"
    return "refuse" if flow["type"] == "flow.refused" else "allow"


def traffic(lab):
    step("traffic")
    with concurrent.futures.ThreadPoolExecutor() as pool:  # a guest makes one attempt at a time
        results = list(pool.map(lambda one: attempt(lab, *one[:4]), ATTEMPTS))
    spoof(lab)
    flows = find_flows(lab, ATTEMPTS)
    wrong = 0
    print(f"\n  {'FROM':9} {'TO':9} {'SERVICE':10} {'EXPECTED':9} {'HAPPENED':12} {'RECORDED':10} RULE")
    for one, result, flow in zip(ATTEMPTS, results, flows):
        source, target, proto, port, expected, rule = one
        happened = "allow" if result == "connected" else "refuse"
        good = happened == expected == verdict_of(flow) and rule in rule_text(flow)
        wrong += not good
        service = proto if proto == "icmp" else f"{proto}/{port}"
        print(f"{' ' if good else '!'} {source:9} {target:9} {service:10} {expected:9} {result:12} "
              f"{verdict_of(flow):10} {rule_text(flow)}")
    return wrong + spoof_table(lab)


def spoof_table(lab):
    def is_mine(event):
        return str(event.get("type", "")).startswith("guard.") and event.get("vm_name") == "attacker"
    try:
        util.wait_until("guard events", lambda: len({e["type"] for e in lab.manager.events("--since", "600s")
                                                     if is_mine(e)}) >= 2, 10, 0.3)
    except util.LabError:
        pass
    events = {e["type"]: e for e in lab.manager.events("--since", "600s") if is_mine(e)}
    print("\n  the attacker also pretended to be web; stopped at its own tap:")
    for kind, event in sorted(events.items()):
        print(f"    {kind:20} {event['vm_name']} on {event['host']}, NIC {event.get('nic')}")
    print()
    if len(events) < 2:
        print("! expected two guard events (IP and ARP)")
        return 1
    return 0


def migration(lab):
    """web moves to the other host while it talks to db and somebody else knocks at its door."""
    web, db, evil = (lab.guests[n] for n in ("web", "db", "attacker"))
    step("live migration of web from h1 to h2, while it talks to db")
    web.flow("kept", db.address, 3306, timeout_ms=10000)
    evil.knock("knock", web.address, 22, timeout_ms=150)
    web.answers("kept", 3)
    move = migrate.Move(web, lab.host(2))
    failed = move.wait(check=False)
    after, knock = web.answers("kept", 10), evil.stop("knock")
    web.stop("kept")
    if failed:
        print(f"! virsh migrate: {move.said}")
        return 1
    wrong = 0
    for good, text in (
            (not after["done"] and after["connects"] == 1,
             f"web's connection to db: the same one, {after['received']} questions answered, the longest took "
             f"{after['max_rtt_us'] / 1000:.0f} ms"),
            (knock["connects"] == 0 and knock["sent"], f"attacker to web tcp/22 meanwhile: {knock['sent']} attempts, "
             f"{knock['connects']} got through")):
        print(f"{' ' if good else '!'} {text}")
        wrong += not good
    print(f"\n  $ bulkhead migration show\n{show_migration(lab)}")
    return wrong


def show_migration(lab):
    def over():
        items = lab.manager.json("migration", "list")["items"]
        return items if items and items[0]["state"] in ("done", "failed", "refused") else None
    last = util.wait_until("the end of the migration in the manager's record", over, 15, 0.1)[0]
    return "".join(f"  {line}".rstrip() + "\n" for line in lab.manager.cli("migration", "show", last["id"]).stdout.splitlines())


def lock_checkout():
    """Held until the start is through: ./check builds in the same folder, and another start would end this one."""
    if os.environ.get("BULKHEAD_CHECK") == util.ROOT:
        return  # a test of the ./check that holds it
    lock = os.open(util.ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise util.LabError(f"a ./check, or another start of ./demo, runs in {util.ROOT}; wait for it or end it") from None


def start():
    lock_checkout()
    if os.path.isdir(f"{util.LAB_DIR}/{NAME}"):
        step("a demo is there already; it is replaced")
        Lab(NAME).down()
    step("build")
    pages = console.Build()
    try:
        build()
        return show(pages)
    finally:
        pages.end()


def open_console(lab, pages):
    """The address and who can log in, in words."""
    if pages.going_on():
        step("the web console is still being built")
    late = pages.process is not None
    if not pages.ready():
        return f"The web console is not there: {pages.missing}"
    if late:
        lab.manager.configure(console_dir=console.DIST)
        lab.manager.daemon.stop()
        lab.manager.start_manager()
    return console.words(console.open_for(lab.manager))


def show(pages):
    lab = start_world(pages.process is None and not pages.missing)
    wrong = traffic(lab) + migration(lab)
    if wrong:
        print(f"demo: {wrong} lines with ! are not as the policy says. It stays up for a look; ./demo stop ends it.\n"
              f"{lab.manager.logs()}")
        return 1
    entry = open_console(lab, pages)
    step("done: everything went as the policy says, and it keeps running")
    demo = "sudo ./demo" if "SUDO_USER" in os.environ else "./demo"
    print(f"""
{entry}

Three things to try:
  {demo} bulkhead status
      every host holds what is intended
  {demo} bulkhead policy explain --from attacker --to db --port tcp/3306
      the rule that decides, and its line
  {demo} sh attacker 'nc -w 2 10.78.0.13 3306 </dev/null'
      a connection that is refused; then look at: {demo} bulkhead flow --vm attacker
Remove every trace: {demo} stop""")
    return 0


def status():
    if not os.path.isdir(f"{util.LAB_DIR}/{NAME}"):
        print("no demo runs")
        return 1
    lab = Lab.attach(NAME)
    for node in lab.nodes():
        print(f"{node.name:5} {'up' if node.alive() else 'DOWN'}")
    for host in lab.hosts:
        print(host.virsh("list", check=False).stdout.rstrip())
    print(lab.manager.cli("status", check=False).stdout)
    told = console.told_by(lab)
    if told:
        print(console.words(told))
    return 0


def guest_shell(name, words):
    agents = [Agent(host.agent_socket(name)) for host in Lab.attach(NAME).hosts]
    agent = next((a for a in agents if a.ready()), None)  # it may have moved
    if not agent:
        raise util.LabError(f"{name} does not answer on any host")
    if words:
        reply = agent.call("sh", cmd=" ".join(words) + " 2>&1", timeout=65)
        sys.stdout.write(reply["out"])
        return reply["rc"]
    while True:
        try:
            line = input(f"{name}# ")
        except EOFError:
            print()
            return 0
        if line.strip() in ("exit", "quit"):
            return 0
        if line.strip():
            sys.stdout.write(agent.call("sh", cmd=line + " 2>&1", timeout=65)["out"])


def shell(args):
    if args and args[0] in {g[0] for g in GUESTS}:
        return guest_shell(args[0], args[1:])
    for node in Lab.attach(NAME).nodes():
        if args and node.name == args[0]:
            return subprocess.call(node.argv(*(args[1:] or ["bash"])))
    print("demo sh: web, web2, db, admin, attacker, or h1, h2, mgr, sw", file=sys.stderr)
    return 2


def main(argv):
    verb, args = (argv[1] if len(argv) > 1 else "start"), argv[2:]
    if verb in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if verb not in ("start", "stop", "status", "sh", "bulkhead"):
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid():
        raise util.LabError(f"needs root: sudo ./demo {verb}")
    if verb == "start":
        return start()
    if verb == "stop":
        Lab(NAME).down()
        print("demo: stopped, nothing is left")
        return 0
    if verb == "status":
        return status()
    if not os.path.isdir(f"{util.LAB_DIR}/{NAME}"):
        raise util.LabError("no demo runs; ./demo starts it")
    if verb == "sh":
        return shell(args)
    done = subprocess.run(Lab.attach(NAME).manager.argv(manager.program("bulkhead"), *args), check=False)
    return done.returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (util.LabError, subprocess.TimeoutExpired, json.JSONDecodeError) as problem:
        print(f"demo: {problem}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
