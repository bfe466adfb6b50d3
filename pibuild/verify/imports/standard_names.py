"""Names in Python's own library that not every Python has. ci/standard_names.py writes this file.

Source: CPython 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0, compiled on one machine.
"""

NAMES = """\
abc 3.10- update_abstractmethods
aifc -3.8 openfp
argparse 3.9- BooleanOptionalAction
ast 3.10- Match MatchAs MatchClass MatchMapping MatchOr MatchSequence MatchSingleton MatchStar MatchValue match_case
  pattern
ast 3.11- TryStar
ast 3.12- ParamSpec TypeAlias TypeVar TypeVarTuple type_param
ast 3.8- FunctionType NamedExpr TypeIgnore get_source_segment type_ignore
ast 3.9- main unparse
asyncio -3.10 coroutine
asyncio 3.11- Barrier BrokenBarrierError Runner TaskGroup Timeout timeout timeout_at
asyncio 3.12- create_eager_task_factory eager_task_factory
asyncio 3.13- EventLoop QueueShutDown
asyncio 3.7- BufferedProtocol SendfileNotAvailableError all_tasks create_task current_task get_running_loop run
asyncio 3.8- MultiLoopChildWatcher ThreadedChildWatcher
asyncio 3.9- PidfdChildWatcher Server to_thread
asyncio.base_futures -3.7 InvalidStateError
asyncio.coroutines -3.10 CoroWrapper coroutine
asyncio.events 3.12- on_fork
asyncio.events 3.7- get_running_loop
asyncio.exceptions 3.11- BrokenBarrierError
asyncio.futures -3.7 CancelledError InvalidStateError TimeoutError
asyncio.locks -3.7 coroutine
asyncio.locks 3.11- Barrier
asyncio.protocols 3.7- BufferedProtocol
asyncio.queues 3.13- QueueShutDown
asyncio.runners 3.11- Runner
asyncio.sslproto 3.11- AppProtocolState SSLProtocolState add_flowcontrol_defaults
asyncio.streams -3.7 IncompleteReadError LimitOverrunError
asyncio.streams 3.7- sleep
asyncio.tasks -3.7 coroutine
asyncio.tasks 3.12- create_eager_task_factory eager_task_factory
asyncio.tasks 3.7- all_tasks create_task current_task
asyncio.unix_events 3.10- waitstatus_to_exitcode
asyncio.unix_events 3.12- can_use_pidfd
asyncio.unix_events 3.13- EventLoop
asyncio.unix_events 3.8- MultiLoopChildWatcher ThreadedChildWatcher
asyncio.unix_events 3.9- PidfdChildWatcher
base64 -3.11 test
base64 -3.8 decodestring encodestring
base64 3.10- b32hexdecode b32hexencode
base64 3.13- z85decode z85encode
binascii -3.10 a2b_hqx b2a_hqx rlecode_hqx rledecode_hqx
builtins 3.10- EncodingWarning aiter anext
builtins 3.11- BaseExceptionGroup ExceptionGroup
builtins 3.13- PythonFinalizationError
builtins 3.7- breakpoint
calendar 3.12- Day Month
cgi -3.7 escape parse_qs parse_qsl
code 3.13- Quitter
codecs -3.7 unicode_internal_decode unicode_internal_encode
codecs 3.10- unregister
collections -3.9 AsyncGenerator AsyncIterable AsyncIterator Awaitable ByteString Callable Collection Container
  Coroutine Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence
  MutableSet Reversible Sequence Set Sized ValuesView
collections.abc 3.12- Buffer
concurrent.futures 3.7- BrokenExecutor
concurrent.futures 3.8- InvalidStateError
configparser -3.11 SafeConfigParser
configparser -3.12 LegacyInterpolation
configparser 3.13- MultilineContinuationError UNNAMED_SECTION
contextlib 3.10- AsyncContextDecorator aclosing
contextlib 3.11- chdir
contextlib 3.7- AbstractAsyncContextManager AsyncExitStack asynccontextmanager nullcontext
copy 3.13- replace
copyreg 3.10- pickle_union
ctypes 3.11- BigEndianUnion LittleEndianUnion
ctypes 3.12- c_time_t
dataclasses 3.10- KW_ONLY
datetime 3.11- UTC
dis -3.11 hasnargs
dis 3.11- Positions main
dis 3.12- hasarg hasexc
dis 3.13- ArgResolver Formatter hasjump print_instructions
email.errors 3.10- InvalidDateDefect
email.errors 3.13- HeaderWriteError
email.generator 3.13- HeaderWriteError
email.headerregistry 3.8- MessageIDHeader
email.message -3.11 Policy
email.utils -3.12 Charset
enum 3.11- CONFORM CONTINUOUS EJECT EnumCheck EnumType FlagBoundary KEEP NAMED_FLAGS ReprEnum STRICT StrEnum UNIQUE
  bin global_enum global_enum_repr global_flag_repr global_str member nonmember pickle_by_enum_name
  pickle_by_global_name property show_flag_values verify
enum 3.13- EnumDict
fractions -3.8 gcd
functools 3.8- cached_property singledispatchmethod
functools 3.9- cache
gc 3.7- freeze get_freeze_count unfreeze
gc 3.9- is_finalized
genericpath 3.12- islink
genericpath 3.13- isdevdrive isjunction lexists
gettext -3.10 bind_textdomain_codeset ldgettext ldngettext lgettext lngettext
gettext 3.8- dnpgettext dpgettext npgettext pgettext
glob 3.13- translate
gzip 3.8- BadGzipFile main
hashlib 3.11- file_digest
hashlib 3.7- scrypt
hmac 3.7- digest
http 3.11- HTTPMethod
http.cookiejar -3.10 vals_sorted_by_key
http.server 3.7- ThreadingHTTPServer
importlib -3.11 find_loader
importlib.abc -3.11 Finder
importlib.abc 3.7- ResourceReader
importlib.abc 3.9- Traversable TraversableResources
importlib.metadata 3.10- EntryPoints FreezableDefaultDict Lookup PackageMetadata Pair Sectioned SimplePath
  method_cache packages_distributions pass_none unique_everseen
importlib.metadata 3.10-3.11 Deprecated DeprecatedList SelectableGroups
importlib.metadata 3.11- always_iterable
importlib.metadata 3.11-3.12 DeprecatedTuple
importlib.metadata 3.12- DeprecatedNonAbstract
importlib.resources -3.10 ResourceLoader
importlib.resources -3.12 Resource
importlib.resources -3.9 import_module
importlib.resources 3.10- ResourceReader
importlib.resources 3.13- Anchor
importlib.resources 3.9- as_file files
importlib.util -3.11 module_for_loader set_loader set_package
importlib.util 3.10- Loader
importlib.util 3.7- source_hash
inspect -3.10 ArgSpec formatargspec getargspec
inspect 3.10- get_annotations
inspect 3.11- getmembers_static ismethodwrapper
inspect 3.12- AGEN_CLOSED AGEN_CREATED AGEN_RUNNING AGEN_SUSPENDED BufferFlags getasyncgenlocals getasyncgenstate
  markcoroutinefunction
inspect 3.9- ClassFoundException
io -3.11 OpenWrapper
io 3.10- text_encoding
io 3.8- open_code
itertools 3.10- pairwise
itertools 3.12- batched
keyword -3.7 main
keyword 3.9- issoftkeyword softkwlist
locale -3.11 format
locale -3.12 resetlocale
locale 3.10- localize
locale 3.11- getencoding
logging 3.11- getLevelNamesMapping
logging 3.12- getHandlerByName getHandlerNames
mailcap 3.7- UnsafeMailcapInput
math 3.11- cbrt exp2
math 3.12- sumprod
math 3.13- fma
math 3.7- remainder
math 3.8- comb dist isqrt perm prod
math 3.9- lcm nextafter ulp
mimetypes 3.13- guess_file_type
multiprocessing 3.8- parent_process
multiprocessing.forkserver 3.7- read_signed write_signed
multiprocessing.managers 3.7- ProcessError
multiprocessing.managers 3.8- SharedMemoryManager SharedMemoryServer
multiprocessing.pool 3.8- wait
multiprocessing.process 3.8- parent_process
multiprocessing.resource_tracker 3.11- ReentrantCallError
multiprocessing.resource_tracker 3.13- cleanup_noop
multiprocessing.util 3.7- is_abstract_socket_namespace
multiprocessing.util 3.8- close_fds
ntpath 3.12- isdevdrive isjunction splitroot
ntpath 3.13- isreserved
operator 3.11- call
os 3.10- eventfd eventfd_read eventfd_write splice
os 3.11- login_tty
os 3.12- setns unshare
os 3.13- grantpt posix_openpt process_cpu_count ptsname timerfd_create timerfd_gettime timerfd_gettime_ns
  timerfd_settime timerfd_settime_ns unlockpt
os 3.7- preadv pwritev register_at_fork
os 3.8- copy_file_range memfd_create posix_spawn posix_spawnp
os 3.9- pidfd_open waitstatus_to_exitcode
pathlib 3.13- UnsupportedOperation
pdb -3.9 getsourcelines
pdb 3.13- find_first_executable_line
pickle 3.8- BYTEARRAY8 NEXT_BUFFER PickleBuffer READONLY_BUFFER
pickletools 3.8- read_bytearray8
pkgutil -3.11 ImpImporter ImpLoader
pkgutil 3.9- resolve_name
platform -3.7 dist linux_distribution popen
platform 3.10- freedesktop_os_release
platform 3.13- AndroidVer IOSVersionInfo android_ver ios_ver
platform 3.8- win32_edition win32_is_iot
plistlib -3.8 Data readPlist readPlistFromBytes writePlist writePlistToBytes
plistlib 3.8- UID
posixpath 3.12- isjunction splitroot
posixpath 3.13- isdevdrive
pprint 3.8- pp
pstats 3.7- SortKey
pstats 3.9- FunctionProfile StatsProfile
py_compile 3.7- PycInvalidationMode
pydoc 3.13- parentname
queue 3.13- ShutDown
queue 3.7- SimpleQueue
random 3.12- binomialvariate
random 3.13- main
random 3.9- randbytes
re -3.12 template
re 3.13- PatternError
re 3.7- Match Pattern
shlex 3.8- join
signal 3.8- raise_signal strsignal valid_signals
signal 3.9- pidfd_send_signal
site 3.13- gethistoryfile register_readline
smtpd -3.10 MailmanProxy
socket 3.7- close
socket 3.8- create_server has_dualstack_ipv6
socket 3.9- recv_fds send_fds
socketserver 3.12- ForkingUnixDatagramServer ForkingUnixStreamServer
ssl -3.11 RAND_pseudo_bytes match_hostname wrap_socket
ssl 3.7- SSLCertVerificationError TLSVersion
statistics 3.10- LinearRegression correlation covariance linear_regression
statistics 3.13- kde kde_random
statistics 3.8- NormalDist fmean geometric_mean multimode quantiles
sunau -3.8 openfp
symtable 3.13- SymbolTableType main
sys -3.7 get_coroutine_wrapper set_coroutine_wrapper
sys -3.8 callstats getcheckinterval setcheckinterval
sys 3.11- exception
sys 3.12- activate_stack_trampoline deactivate_stack_trampoline getunicodeinternedsize is_stack_trampoline_active
sys 3.7- breakpointhook get_coroutine_origin_tracking_depth get_int_max_str_digits set_coroutine_origin_tracking_depth
  set_int_max_str_digits
sys 3.8- addaudithook audit unraisablehook
sysconfig 3.10- expand_makefile_vars get_default_scheme get_preferred_scheme
tarfile -3.7 filemode
tarfile 3.8- AbsoluteLinkError AbsolutePathError FilterError LinkOutsideDestinationError OutsideDestinationError
  SpecialFileError data_filter fully_trusted_filter tar_filter
termios 3.11- tcgetwinsize tcsetwinsize
threading 3.10- getprofile gettrace
threading 3.12- setprofile_all_threads settrace_all_threads
threading 3.8- ExceptHookArgs excepthook get_native_id
time -3.7 clock
time 3.7- clock_gettime_ns clock_settime_ns monotonic_ns perf_counter_ns process_time_ns pthread_getcpuclockid
  thread_time thread_time_ns time_ns
tokenize -3.12 StopTokenizing
tracemalloc 3.9- reset_peak
tty 3.12- cfmakecbreak cfmakeraw
turtle -3.12 settiltangle
turtle 3.12- teleport
types 3.10- EllipsisType NoneType NotImplementedType UnionType
types 3.12- get_original_bases
types 3.7- ClassMethodDescriptorType MethodDescriptorType MethodWrapperType WrapperDescriptorType resolve_bases
types 3.8- CellType
types 3.9- GenericAlias
typing -3.12 io re
typing 3.10- Concatenate ParamSpec ParamSpecArgs ParamSpecKwargs TypeAlias TypeGuard is_typeddict
typing 3.11- LiteralString Never NotRequired Required Self TypeVarTuple Unpack assert_never assert_type
  clear_overloads dataclass_transform get_overloads reveal_type
typing 3.12- TypeAliasType override
typing 3.13- NoDefault ReadOnly TypeIs get_protocol_members is_protocol
typing 3.7- ForwardRef OrderedDict
typing 3.8- Final Literal Protocol SupportsIndex TypedDict final get_args get_origin runtime_checkable
typing 3.9- Annotated
unicodedata 3.8- is_normalized
unittest -3.11 load_tests
unittest -3.12 findTestCases getTestCaseNames makeSuite
unittest 3.11- doModuleCleanups enterModuleContext
unittest 3.8- IsolatedAsyncioTestCase addModuleCleanup
unittest.case 3.11- enterModuleContext
unittest.case 3.8- addModuleCleanup doModuleCleanups
unittest.loader -3.12 findTestCases getTestCaseNames makeSuite
unittest.mock 3.10- InvalidSpecError
unittest.mock 3.13- ThreadingMixin ThreadingMock
unittest.mock 3.7- seal
unittest.mock 3.8- AsyncMagicMixin AsyncMock AsyncMockMixin safe_repr
urllib.request -3.7 splitattr splithost splitpasswd splitport splitquery splittag splittype splituser splitvalue
  to_bytes
uuid 3.12- main
uuid 3.7- SafeUUID
warnings 3.13- deprecated
wave -3.8 openfp
zipfile 3.8- CompleteDirs Path
zipfile 3.8-3.11 FastLookup
"""
"""A module, the first and the last Python that have the names, and the names. Without a first, all from 3.6 on have
them; without a last, all up to 3.13."""
