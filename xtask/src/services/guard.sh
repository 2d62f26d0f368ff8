# Cleans up after servers of a temporary folder, $1, however the process that started them ended: waits until standard
# input is closed, ends what is left running, removes the folder. A number in a pid file counts only while that process
# names the folder on its command line.
cat > /dev/null
for file in "$1"/*.pid; do
  [ -f "$file" ] || continue
  pid=$(cat "$file")
  line=$(tr '\0' ' ' 2>/dev/null < "/proc/$pid/cmdline" || ps -o args= -p "$pid" 2>/dev/null)
  case $line in
    *"$1"*) kill -s KILL "$pid" ;;
  esac
done
# Children of a server that was killed may still write there while they notice.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" 2>/dev/null && exit 0
  sleep 0.2
done
