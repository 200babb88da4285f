// Runs one function on the JVM for Dispatch.
//
// Started by the process engine with the path of a Unix-domain socket as the last argument. Frames on it: a 32-bit
// big-endian length, then JSON. The first frame is {"load": {"folder", "handler", "maxResult"}}; every later one is a
// function message {"context", "payload"} and is answered with one. Standard output and standard error belong to
// the function: they are flushed before an answer is sent.
//
// Without another argument the handler is a class (see Handlers); with one, it is the path of a Clojure file whose
// last value is a java.util.function.BiFunction from folder and handler to the function, itself a BiFunction.
package dispatch.worker;

import java.io.EOFException;
import java.io.IOException;
import java.io.StringReader;
import java.lang.reflect.InvocationTargetException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;

public final class Worker {
    private static final int MAX_MESSAGE = 8 * 1024;
    private static final int MAX_TRACE = 64;

    private final SocketChannel channel;

    private Worker(SocketChannel channel) {
        this.channel = channel;
    }

    public static void main(String[] arguments) throws Exception {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(arguments[arguments.length - 1]));
        try {
            new Worker(channel).serve(arguments.length > 1 ? Path.of(arguments[0]) : null);
        } catch (EOFException | java.nio.channels.ClosedChannelException gone) {
            // The engine hung up.
        }
        // Threads the function left running do not keep the process.
        Runtime.getRuntime().halt(0);
    }

    private void serve(Path glue) throws Exception {
        Map<?, ?> order = (Map<?, ?>) ((Map<?, ?>) Json.read(frame())).get("load");
        long maxResult = ((Number) order.get("maxResult")).longValue();
        Handler handler;
        try {
            String name = (String) order.get("handler");
            Path folder = Path.of((String) order.get("folder"));
            handler = glue == null ? Handler.named(name) : Handler.of(glued(glue, folder.toString(), name));
        } catch (Throwable error) {
            flush();
            write(Json.write(Map.of("error", clip(told(error), MAX_MESSAGE))));
            return;
        }
        flush();
        write("{\"ok\":true}");
        for (;;) {
            String answer = call(handler, frame(), maxResult);
            flush();
            write(answer);
        }
    }

    @SuppressWarnings("unchecked")
    private static BiFunction<Object, Object, Object> glued(Path glue, String folder, String name) throws Exception {
        // The language's own start; its compiler cannot begin without.
        Class.forName("clojure.lang.RT");
        Class<?> compiler = Class.forName("clojure.lang.Compiler");
        Object loader = compiler.getMethod("load", java.io.Reader.class)
                .invoke(null, new StringReader(Files.readString(glue)));
        return (BiFunction<Object, Object, Object>) ((BiFunction<Object, Object, Object>) loader).apply(folder, name);
    }

    private static String call(Handler handler, String body, long maxResult) {
        Map<?, ?> message;
        Object payload;
        Object context;
        try {
            message = (Map<?, ?>) Json.read(body);
            context = handler.context(message.get("context"));
            payload = handler.payload(message.get("payload"));
        } catch (RuntimeException error) {
            return failure("InputError", "Invalid Input: " + describe(error), null, false);
        }
        Object result;
        try {
            result = handler.apply(context, payload);
        } catch (IllegalArgumentException error) {
            return failure("InputError", describe(error), error, false);
        } catch (VirtualMachineError error) {
            // Nothing this process does from here on can be trusted.
            return failure("FunctionError", told(error), error, true);
        } catch (Throwable error) {
            return failure("FunctionError", describe(error), error, false);
        }
        String text;
        try {
            text = Json.write(result);
        } catch (RuntimeException | StackOverflowError error) {
            return failure("FunctionError", "the result cannot be written as JSON: " + describe(error), null, false);
        }
        int size = text.getBytes(StandardCharsets.UTF_8).length;
        if (size > maxResult) {
            String problem = "the result has " + size + " bytes; a result has at most " + maxResult;
            return failure("FunctionError", problem, null, false);
        }
        return "{\"context\":{\"error\":null},\"payload\":" + text + "}";
    }

    private static String failure(String kind, String message, Throwable error, boolean retire) {
        Map<String, Object> failure = new LinkedHashMap<>();
        failure.put("type", kind);
        failure.put("message", clip(message, MAX_MESSAGE));
        failure.put("stacktrace", error == null ? List.of() : trace(error));
        return "{\"context\":{\"error\":" + Json.write(failure) + ",\"retire\":" + retire + "},\"payload\":null}";
    }

    // As Java prints it, without the frames of this program and what lies below.
    private static List<String> trace(Throwable error) {
        List<String> lines = new ArrayList<>();
        for (Throwable at = error; at != null && lines.size() < MAX_TRACE; at = at.getCause()) {
            lines.add(clip((at == error ? "" : "Caused by: ") + told(at), 1024));
            for (StackTraceElement frame : at.getStackTrace()) {
                String in = frame.getClassName();
                if (in.startsWith("dispatch.worker.") || in.startsWith("clojure.core$eval") || lines.size() >= MAX_TRACE) {
                    break;
                }
                lines.add(clip("\tat " + frame, 1024));
            }
        }
        return lines;
    }

    private static String describe(Throwable error) {
        String message = error.getMessage();
        return message == null || message.isEmpty() ? error.getClass().getName() : message;
    }

    private static String told(Throwable error) {
        // What failed below a reflective call or a class that cannot be loaded is what people want to know.
        while (error.getCause() != null && (error instanceof InvocationTargetException || error instanceof ExceptionInInitializerError)) {
            error = error.getCause();
        }
        String message = error.getMessage();
        String told = message == null ? error.getClass().getName() : error.getClass().getName() + ": " + message;
        Throwable cause = error.getCause();
        return error.getClass().getName().startsWith("clojure.lang.Compiler") && cause != null
                ? told + " " + told(cause) : told;
    }

    private static String clip(String text, int most) {
        return text.length() > most ? text.substring(0, most) : text;
    }

    private static void flush() {
        System.out.flush();
        System.err.flush();
    }

    private String frame() throws IOException {
        ByteBuffer head = fill(ByteBuffer.allocate(4));
        ByteBuffer body = fill(ByteBuffer.allocate(head.getInt(0)));
        return new String(body.array(), StandardCharsets.UTF_8);
    }

    private ByteBuffer fill(ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw new EOFException();
            }
        }
        return buffer;
    }

    private void write(String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        ByteBuffer frame = ByteBuffer.allocate(4 + body.length).putInt(body.length).put(body).flip();
        while (frame.hasRemaining()) {
            channel.write(frame);
        }
    }
}
