// The parts of libstdc++ with a life of their own: streams, locales, regex, files, time.
#include "check.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <clocale>
#include <codecvt>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <locale>
#include <map>
#include <memory_resource>
#include <numeric>
#include <random>
#include <regex>
#include <sstream>
#include <thread>
#include <unordered_map>

#include <fcntl.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

struct Folder {
    fs::path path;
    Folder() {
        std::string name = (fs::temp_directory_path() / "conformance-XXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~Folder() { fs::remove_all(path); }
};

} // namespace

CHECK("streams write and read numbers") {
    std::ostringstream out;
    out << std::fixed << std::setprecision(3) << 3.14159 << ' ' << std::hex << std::showbase << 255 << ' ' << std::boolalpha
        << true << ' ' << std::dec << -1234567890123LL << ' ' << std::scientific << 6.02e23f;
    EXPECT(out.str() == "3.142 0xff true -1234567890123 6.020e+23");
    std::istringstream in("17 2.5e-3 0x1F word");
    int i, hex;
    double d;
    std::string word;
    in >> i >> d >> std::hex >> hex >> word;
    EXPECT(in && i == 17 && d == 2.5e-3 && hex == 31 && word == "word" && !(in >> i));
}

CHECK("the standard streams are there before main") {
    std::cout.flush();
    EXPECT(std::cout.good() && std::cerr.good() && std::cin.rdbuf() && std::wclog.rdbuf());
}

CHECK("files hold more than 4 GiB") {
    Folder folder;
    fs::path path = folder.path / "large";
    std::ofstream(path, std::ios::binary).seekp(5'000'000'000LL).put('x');
    EXPECT(fs::file_size(path) == 5'000'000'001u);
    std::ifstream in(path, std::ios::binary | std::ios::ate);
    EXPECT(in.tellg() == std::streampos(5'000'000'001LL));
    int descriptor = open(path.c_str(), O_RDONLY);
    EXPECT(descriptor >= 0 && fcntl(descriptor, F_GETFD) >= 0 && lseek(descriptor, 0, SEEK_END) == 5'000'000'001LL);
    close(descriptor);
}

CHECK("file systems are walked and changed") {
    Folder folder;
    fs::create_directories(folder.path / "a" / "b");
    std::ofstream(folder.path / "a" / "b" / "one.txt") << "1";
    fs::copy(folder.path / "a", folder.path / "c", fs::copy_options::recursive);
    fs::rename(folder.path / "c" / "b" / "one.txt", folder.path / "c" / "two.txt");
    fs::create_symlink("two.txt", folder.path / "c" / "link");
    auto walk = fs::recursive_directory_iterator(folder.path);
    EXPECT(std::distance(fs::begin(walk), fs::end(walk)) == 7);
    EXPECT(fs::equivalent(folder.path / "c" / "link", folder.path / "c" / "two.txt"));
    EXPECT(fs::path("/a/b/../c.tar.gz").lexically_normal().stem() == "c.tar");
    std::error_code error;
    EXPECT(fs::file_size(folder.path / "none", error) == static_cast<std::uintmax_t>(-1));
    EXPECT(error == std::errc::no_such_file_or_directory);
    try {
        fs::remove(folder.path / "a");
        EXPECT(false);
    } catch (const fs::filesystem_error &) {
    }
}

CHECK("regular expressions match, search and replace") {
    std::smatch match;
    std::string line = "tflite_runtime-2.14.1-cp311-cp311-linux_armv6l.whl";
    EXPECT(std::regex_match(line, match, std::regex(R"((\w+)-([\d.]+)-(cp\d+)-\3-(linux_\w+)\.whl)")));
    EXPECT(match[1] == "tflite_runtime" && match[2] == "2.14.1" && match[4] == "linux_armv6l");
    EXPECT(std::regex_replace("a1b22", std::regex("[0-9]+"), "<$&>") == "a<1>b<22>");
    try {
        std::regex("[");
        EXPECT(false);
    } catch (const std::regex_error &error) {
        EXPECT(error.code() == std::regex_constants::error_brack);
    }
}

CHECK("locales carry facets of one's own") {
    struct Comma : std::numpunct<char> {
        char do_decimal_point() const override { return ','; }
        char do_thousands_sep() const override { return '.'; }
        std::string do_grouping() const override { return "\3"; }
    };
    std::ostringstream out;
    out.imbue(std::locale(std::locale::classic(), new Comma));
    out << 1234567.5 << ' ' << std::setprecision(8) << 1234567.5;
    EXPECT(out.str() == "1,23457e+06 1.234.567,5");
    EXPECT(std::use_facet<std::ctype<char>>(std::locale()).toupper('q') == 'Q');
    try {
        std::locale("no such locale");
        EXPECT(false);
    } catch (const std::runtime_error &) {
    }
}

CHECK("wide characters become UTF-8 and back") {
    std::wstring_convert<std::codecvt_utf8<wchar_t>> convert;
    std::wstring wide = L"\u03c0 \U0001F967";
    EXPECT(convert.to_bytes(wide) == "\xcf\x80 \xf0\x9f\xa5\xa7" && convert.from_bytes(convert.to_bytes(wide)) == wide);
    EXPECT(std::setlocale(LC_CTYPE, "C.UTF-8") && std::mbstowcs(nullptr, "\xcf\x80x", 0) == 2);
    std::setlocale(LC_CTYPE, "C");
}

CHECK("clocks go forward, and sleep lasts") {
    using namespace std::chrono;
    auto start = steady_clock::now();
    std::this_thread::sleep_for(milliseconds(30));
    auto slept = steady_clock::now() - start;
    EXPECT(slept >= milliseconds(30) && slept < seconds(30));
    EXPECT(system_clock::to_time_t(system_clock::now()) > 1'600'000'000);
}

CHECK("random numbers are those of the standard") {
    std::mt19937 small;
    std::mt19937_64 large;
    small.discard(9999), large.discard(9999);
    EXPECT(small() == 4123659995u && large() == 9981545732273789042u);
    std::random_device device("/dev/urandom");
    EXPECT(device() != device() || device() != device());
}

CHECK("containers sort, hash and allocate") {
    std::vector<int> numbers(1000);
    std::iota(numbers.rbegin(), numbers.rend(), 0);
    std::stable_sort(numbers.begin(), numbers.end());
    EXPECT(std::is_sorted(numbers.begin(), numbers.end()));
    std::unordered_map<std::string, int> words;
    for (int number : numbers) words[std::to_string(number % 37)] += number;
    EXPECT(words.size() == 37 && words["36"] == std::accumulate(numbers.begin(), numbers.end(), 0, [](int sum, int n) {
               return sum + (n % 37 == 36 ? n : 0);
           }));
    char buffer[4096];
    std::pmr::monotonic_buffer_resource memory(buffer, sizeof buffer, std::pmr::null_memory_resource());
    std::pmr::map<int, int> map(&memory);
    for (int i = 0; i < 50; ++i) map[i] = i * i;
    EXPECT(map.at(49) == 2401);
}

CHECK("text becomes numbers and back") {
    char text[32];
    auto end = std::to_chars(text, text + sizeof text, std::numeric_limits<long long>::min()).ptr;
    EXPECT(std::string(text, end) == "-9223372036854775808");
    unsigned value = 0;
    EXPECT(std::from_chars("ff", text, value, 16).ptr && value == 255);
    EXPECT(std::stod("0x1.8p1") == 3 && std::to_string(0.1f) == "0.100000" && std::stoull("18446744073709551615") == ~0ull);
    try {
        std::stoi("99999999999");
        EXPECT(false);
    } catch (const std::out_of_range &) {
    }
}

CHECK("functions are bound and called through") {
    std::function<int(int)> add = std::bind(std::plus<int>(), std::placeholders::_1, 5);
    EXPECT(add(2) == 7);
    try {
        std::function<void()>()();
        EXPECT(false);
    } catch (const std::bad_function_call &) {
    }
}
