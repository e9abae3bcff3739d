package eu.imi.interop;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/**
 * What this process has used so far.
 *
 * @param cpu seconds of CPU, all threads
 * @param compiling seconds spent compiling; part of {@code cpu}, and of the Java machine rather than of the work
 * @param wall a clock that only goes forward, in seconds
 */
record Usage(double cpu, double compiling, double wall) {
    static Usage now() {
        final var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return new Usage(
                system.getProcessCpuTime() / 1e9,
                ManagementFactory.getCompilationMXBean().getTotalCompilationTime() / 1e3,
                System.nanoTime() / 1e9);
    }

    Usage since(final Usage earlier) {
        return new Usage(cpu - earlier.cpu, compiling - earlier.compiling, wall - earlier.wall);
    }
}
