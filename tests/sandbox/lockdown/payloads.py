"""What hostile files make their reader do. Each function's source text is what such a file carries.

Each takes the world it attacks: where things are, as plain data. It returns what it stole, or
"through" where it did what it must not and left no other trace.
"""

# As short as their authors would write them.
# ruff: noqa: PTH101, PTH104, PTH108, PTH115, PTH123, PTH208, PTH211, UP031


def read_file(world):
    with open(world["secret"]) as file:
        return file.read()


def read_through_proc(world):
    with open("/proc/self/root" + world["secret"]) as file:
        return file.read()


def read_by_parent_folders(world):
    with open("../" * 40 + world["secret"].lstrip("/")) as file:
        return file.read()


def map_file(world):
    import mmap
    import os

    descriptor = os.open(world["secret"], os.O_RDONLY)
    return mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)[:].decode()


def list_folder(world):
    import os

    return os.listdir(world["names"])


def write_file(world):
    with open(world["outside"] + "/escaped", "w") as file:
        file.write("escaped")


def overwrite_code(world):
    with open(world["code"] + "/module.py", "a") as file:
        file.write("import hostile")


def add_code(world):
    with open(world["code"] + "/usercustomize.py", "w") as file:
        file.write("import hostile")


def empty_readable_file(world):
    import os

    os.close(os.open(world["code"] + "/module.py", os.O_RDONLY | os.O_TRUNC))


def truncate_file(world):
    import os

    os.truncate(world["secret"], 0)


def remove_file(world):
    import os

    os.unlink(world["secret"])


def open_to_all(world):
    import os

    os.chmod(world["secret"], 0o777)


def change_times(world):
    import os

    os.utime(world["secret"], (1, 1))


def move_in(world):
    import os

    os.rename(world["secret"], world["scratch"] + "/mine")
    with open(world["scratch"] + "/mine") as file:
        return file.read()


def move_out(world):
    import os

    with open(world["scratch"] + "/mine", "w") as file:
        file.write("escaped")
    os.rename(world["scratch"] + "/mine", world["outside"] + "/escaped")


def hard_link(world):
    import os

    os.link(world["secret"], world["scratch"] + "/mine")
    return "through"


def symbolic_link(world):
    import os

    os.symlink(world["outside"], world["scratch"] + "/there")
    return "through"


def write_through_waiting_link(world):
    with open(world["scratch"] + "/waiting-link/escaped", "w") as file:
        file.write("escaped")


def make_pipe(world):
    import os

    os.mkfifo(world["scratch"] + "/pipe")
    return "through"


def shell(world):
    import os

    os.system("echo x > " + world["scratch"] + "/ran")


def subprocess_run(world):
    import subprocess

    subprocess.run(["/bin/sh", "-c", "echo x > " + world["scratch"] + "/ran"], check=True)


def execute(world):
    import os

    os.execv("/bin/sh", ["sh", "-c", "echo x > " + world["scratch"] + "/ran"])


def spawn(world):
    import os

    command = ["sh", "-c", "echo x > " + world["scratch"] + "/ran"]
    os.waitpid(os.posix_spawn("/bin/sh", command, {}), 0)


def execute_from_memory(world):
    import os

    descriptor = os.memfd_create("program", 0)
    os.write(descriptor, b"#!/bin/sh\necho x > " + world["scratch"].encode() + b"/ran\n")
    os.execve(descriptor, ["program"], {})


def fork(world):
    import os

    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return "through"


def fork_bomb(world):
    import os
    import time

    children = []
    for _ in range(20):
        pid = os.fork()
        if not pid:
            time.sleep(0.05)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return "through"


def fork_by_number(world):
    import ctypes
    import os
    import platform

    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    libc = ctypes.CDLL(None)
    pid = libc.syscall(number, 17, 0, 0, 0, 0)
    if pid == 0:
        libc._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
        return "through"


def connect_tcp(world):
    import socket

    with socket.create_connection(("127.0.0.1", world["tcp"]), timeout=5) as client:
        client.sendall(b"stolen")
    return "through"


def connect_by_number(world):
    import ctypes
    import platform

    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    if ctypes.CDLL(None).syscall(number, 2, 1, 0) >= 0:
        return "through"


def listen_tcp(world):
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
    return "through"


def send_udp(world):
    import socket

    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"stolen", ("127.0.0.1", world["udp"]))
    return "through"


def look_up_name(world):
    import socket

    return "through" if socket.getaddrinfo("localhost", 80) else None


def connect_unix(world):
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(world["unix"])
    return "through"


def connect_abstract(world):
    import socket

    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + world["abstract"])
    return "through"


def socket_pair(world):
    import socket

    for end in socket.socketpair():
        end.close()
    return "through"


def netlink(world):
    import socket

    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    return "through"


def kill_other(world):
    import os
    import signal

    os.kill(world["victim"], signal.SIGUSR1)
    return "through"


def signal_parent(world):
    import os

    os.kill(os.getppid(), 0)
    return "through"


def kill_by_descriptor(world):
    import os
    import signal

    signal.pidfd_send_signal(os.pidfd_open(world["victim"]), 0)
    return "through"


def signal_by_file_owner(world):
    import fcntl

    with open(world["scratch"] + "/own", "w") as file:
        fcntl.fcntl(file, fcntl.F_SETOWN, world["victim"])
    return "through"


def slow_down_other(world):
    import os

    os.setpriority(os.PRIO_PROCESS, world["victim"], 5)
    return "through"


def pin_other(world):
    import os

    os.sched_setaffinity(world["victim"], os.sched_getaffinity(0))
    return "through"


def others_memory_file(world):
    with open("/proc/%d/mem" % world["victim"], "rb", 0) as memory:
        memory.seek(world["address"])
        return memory.read(64).decode("latin-1")


def others_memory_copy(world):
    import ctypes

    class Span(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    here = ctypes.create_string_buffer(64)
    ours, theirs = Span(ctypes.addressof(here), 64), Span(world["address"], 64)
    libc = ctypes.CDLL(None)
    libc.process_vm_readv(world["victim"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    return here.raw.decode("latin-1")


def trace_other(world):
    import ctypes

    libc = ctypes.CDLL(None)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(0x4206, world["victim"], None, None) == 0:
        return "through"


def others_environment(world):
    with open("/proc/%d/environ" % world["victim"]) as file:
        return file.read()


def others_command(world):
    with open("/proc/%d/cmdline" % world["victim"]) as file:
        return file.read()


def own_environment(world):
    import os
    import posix

    return str(dict(os.environ)) + str(posix.environ)


def own_first_environment(world):
    with open("/proc/self/environ") as file:
        return file.read()


def own_first_environment_in_memory(world):
    import ctypes

    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    return ctypes.string_at(start, end - start).decode("latin-1")


def inherited_descriptor(world):
    import os

    return os.pread(world["descriptor"], 100, 0).decode()


def make_core_dumps(world):
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return "through" if hard else None


def raise_limit(world):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    return "through"


def loop(world):
    import time

    while time.process_time() < 1.6:
        pass
    return "through"


def loop_ignoring_signals(world):
    import signal
    import time

    for number in (signal.SIGXCPU, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    while time.process_time() < 2.6:
        pass
    return "through"


def fill_memory(world):
    import mmap

    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    kept = mmap.mmap(-1, world["too_many_bytes"], flags)
    return "through" if kept else None


def fill_shared_memory(world):
    import mmap

    kept = mmap.mmap(-1, world["too_many_bytes"])
    return "through" if kept else None


def fill_growing_stack(world):
    import ctypes

    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    flags = 0x02 | 0x20 | 0x0100
    found = libc.mmap(
        None, ctypes.c_size_t(world["too_many_bytes"]), 3, flags, -1, ctypes.c_long(0)
    )
    return "through" if found not in (None, 2**64 - 1) else None


def fill_tensor(world):
    import torch

    return "through" if torch.empty(world["too_many_bytes"], dtype=torch.uint8).numel() else None


def fill_disk(world):
    with open(world["scratch"] + "/large", "wb") as file:
        for _ in range(30):
            file.write(bytes(1_000_000))
    return "through"


def fill_disk_at_once(world):
    import os

    with open(world["scratch"] + "/large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 30_000_000)
    return "through"


def open_many_files(world):
    import os

    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(500)]
    return "through" if len(kept) == 500 else None


def start_many_threads(world):
    import threading

    threading.stack_size(16 * 2**20)
    done = threading.Event()
    threads = [threading.Thread(target=done.wait, daemon=True) for _ in range(100)]
    try:
        for thread in threads:
            thread.start()
    finally:
        done.set()
    return "through"


def new_namespace(world):
    import ctypes

    return "through" if ctypes.CDLL(None).unshare(0x20000) == 0 else None


def shared_segment(world):
    import ctypes

    segment = ctypes.CDLL(None).shmget(0, 4_096, 0o1600)
    if segment >= 0:
        ctypes.CDLL(None).shmctl(segment, 0, None)
        return "through"


def shared_file(world):
    import os
    from multiprocessing import shared_memory

    memory = shared_memory.SharedMemory(create=True, size=10)
    os.unlink("/dev/shm/" + memory.name.lstrip("/"))
    return "through"


def ring(world):
    import ctypes

    parameters = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 4, parameters) >= 0:
        return "through"
    # The machine has none for anybody.
    return "unavailable" if ctypes.get_errno() == 38 else None


def watch_folder(world):
    import ctypes

    return "through" if ctypes.CDLL(None).inotify_init() >= 0 else None


def avoid_being_killed(world):
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1")
    return "through"


def print_words(world):
    import os

    with open("/proc/self/fd/1", "w") as file:
        target = os.readlink("/proc/self/fd/1")
        file.write("")
    return None if target == "/dev/null" else "through"


def load_library(world):
    import ctypes

    ctypes.CDLL(world["library"]).run()


def write_and_run(world):
    import os

    try:
        with open(world["outside"] + "/escaped", "w") as file:
            file.write("escaped")
    except OSError:
        pass
    os.system("echo x > " + world["scratch"] + "/ran")
