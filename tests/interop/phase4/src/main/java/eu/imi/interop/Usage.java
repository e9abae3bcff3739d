package eu.imi.interop;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * What this process has used so far.
 *
 * @param cpu seconds of CPU, all threads
 * @param compiling those of the compiler threads (Linux; elsewhere 0): of the Java machine rather than of the work
 * @param wall a clock that only goes forward, in seconds
 */
record Usage(double cpu, double compiling, double wall) {
    private static final double TICKS = 100; // a second, on every Linux that runs Java

    static Usage now() throws IOException {
        final var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return new Usage(system.getProcessCpuTime() / 1e9, compilerThreads(), System.nanoTime() / 1e9);
    }

    Usage since(final Usage earlier) {
        return new Usage(cpu - earlier.cpu, compiling - earlier.compiling, wall - earlier.wall);
    }

    private static double compilerThreads() throws IOException {
        final Path tasks = Path.of("/proc/self/task");
        double seconds = 0;
        if (Files.isDirectory(tasks)) {
            try (DirectoryStream<Path> threads = Files.newDirectoryStream(tasks)) {
                for (final Path thread : threads) {
                    seconds += ifCompiler(thread);
                }
            }
        }
        return seconds;
    }

    private static double ifCompiler(final Path thread) {
        try {
            if (!Files.readString(thread.resolve("comm")).matches("C[12] Comp.*\\s*")) {
                return 0;
            }
            final String stat = Files.readString(thread.resolve("stat"));
            final String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) / TICKS;
        } catch (final IOException ended) {
            return 0; // while we looked; compiler threads stay
        }
    }
}
