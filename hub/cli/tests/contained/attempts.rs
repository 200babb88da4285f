//! The attempts: each a function that answers "fine" when it is asked to be.

/// A function that means harm.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    pub(crate) image: &'static str,
    pub(crate) ends: Ends,
    pub(crate) text: &'static str,
}

/// What its call comes to.
pub(crate) enum Ends {
    /// It answers that it was refused.
    Refused,
    /// It answers.
    Answered,
    /// Its run is an ERROR.
    Failed,
    /// Either.
    Somehow,
}

/// One that means none.
pub(crate) const VICTIM: &str = "def handle(c, p): return 'unharmed'\n";

/// Leaves a process behind while the tasks of the worker are as many as before: in the place of a thread that ended, or of
/// a process that had ended and was not waited for. Says who answers.
pub(crate) const HIDES: [(&str, &str); 2] = [
    (
        "thread",
        "\
import subprocess, threading, uuid
ME, stop = str(uuid.uuid4()), threading.Event()
thread = threading.Thread(target=stop.wait, daemon=True)
thread.start()
def handle(c, p):
    if p['step'] == 2:
        stop.set()
        thread.join()
        subprocess.Popen(['/bin/sleep', '600'], env={'HIDDEN': 'thread'})
    return ME
",
    ),
    (
        "zombie",
        "\
import subprocess, time, uuid
ME, last = str(uuid.uuid4()), None
def handle(c, p):
    global last
    if p['step'] <= 2:
        last = subprocess.Popen(['/bin/sleep', ['0', '600'][p['step'] - 1]], env={'HIDDEN': 'zombie'})
        time.sleep(0.2)
    return ME
",
    ),
];

macro_rules! python {
    ($name:literal, $ends:ident, $body:literal) => {
        Attempt {
            name: $name,
            image: "python3",
            ends: Ends::$ends,
            text: concat!(
                "import os, signal, socket, subprocess, sys, time\n",
                "def handle(c, p):\n",
                "    if p.get('fine'): return 'fine'\n",
                "    try:\n        return attempt(p)\n",
                "    except OSError as e:\n        return {'refused': str(e)}\n",
                "def attempt(p):\n",
                $body
            ),
        }
    };
}

pub(crate) const ATTEMPTS: [Attempt; 19] = [
    python!("loops", Failed, "    while True: pass\n"),
    python!(
        "forks without end",
        Failed,
        "    while True:\n        try: os.fork()\n        except OSError: pass\n"
    ),
    python!(
        "allocates without end",
        Failed,
        "    kept = []\n    while True: kept.append(b'x' * (16 << 20))\n"
    ),
    python!(
        "writes 1 GB to stdout",
        Somehow,
        "    for _ in range(1024): os.write(1, (b'x' * 1023 + b'\\n') * 1024)\n    return 'written'\n"
    ),
    python!(
        "closes its descriptors",
        Failed,
        "    os.closerange(0, 4096)\n    time.sleep(60)\n"
    ),
    python!(
        "ignores every signal",
        Failed,
        "    for n in range(1, 65):\n        try: signal.signal(n, signal.SIG_IGN)\n        except (OSError, ValueError): pass\n    while True: time.sleep(1)\n"
    ),
    python!(
        "double-forks and answers",
        Answered,
        "    env = dict(os.environ, HIDDEN='double-forks-and-answers')\n    if os.fork() == 0:\n        try: os.setsid()\n        except OSError: pass\n        if os.fork() == 0: os.execve('/bin/sleep', ['sleep', '600'], env)\n        os._exit(0)\n    os.wait()\n    return 'hidden'\n"
    ),
    python!(
        "double-forks and hangs",
        Failed,
        "    env = dict(os.environ, HIDDEN='double-forks-and-hangs')\n    if os.fork() == 0:\n        try: os.setsid()\n        except OSError: pass\n        if os.fork() == 0: os.execve('/bin/sleep', ['sleep', '600'], env)\n        os._exit(0)\n    while True: pass\n"
    ),
    python!(
        "reads /etc/shadow",
        Refused,
        "    return open('/etc/shadow').read()\n"
    ),
    python!(
        "reads the hub's data",
        Refused,
        "    return open(p['data'] + '/resources.db', 'rb').read(16).hex()\n"
    ),
    python!(
        "lists the hub's data",
        Refused,
        "    seen = os.listdir(p['data'])\n    if 'journal' in seen: return seen\n    raise OSError('nothing of it is there: %s' % seen)\n"
    ),
    python!(
        "reads another's source",
        Refused,
        "    return open(p['victim']).read()\n"
    ),
    python!(
        "reads the hub's memory",
        Refused,
        "    return open('/proc/%d/environ' % p['pid']).read() or open('/proc/%d/mem' % p['pid'], 'rb').read(1)\n"
    ),
    python!(
        "kills the hub",
        Refused,
        "    os.kill(p['pid'], 9)\n    return 'killed'\n"
    ),
    python!(
        "connects to the hub",
        Refused,
        "    socket.create_connection(('127.0.0.1', p['port']), 2)\n    return 'connected'\n"
    ),
    python!(
        "sends a datagram",
        Refused,
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    s.sendto(b'x', ('127.0.0.1', 9))\n    return 'sent'\n"
    ),
    python!(
        "makes a namespace",
        Refused,
        "    import ctypes\n    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0: return 'made'\n    raise OSError(ctypes.get_errno(), 'unshare')\n"
    ),
    python!(
        "fills the disk",
        Refused,
        "    with open(os.environ['TMPDIR'] + '/big', 'wb') as f:\n        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n        while True: f.write(b'x' * (16 << 20))\n"
    ),
    Attempt {
        name: "loops in JavaScript",
        image: "nodejs",
        ends: Ends::Failed,
        text: "module.exports = (c, p) => {\n  if (p.fine) return 'fine';\n  \
               require('child_process').spawn('/bin/sleep', ['600'], { detached: true, \
               env: { HIDDEN: 'loops-in-JavaScript' } });\n  for (;;) ;\n};\n",
    },
];
