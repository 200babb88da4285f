// JSON text and Java values: Map, List, String, Long, BigInteger, Double, Boolean, null.
package dispatch.worker;

import java.lang.reflect.Array;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

final class Json {
    private static final int MAX_DEPTH = 500;

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object read(String text) {
        Json json = new Json(text);
        Object value = json.value(0);
        if (json.peek() != '\0' || json.at != text.length()) {
            throw json.wrong("the end");
        }
        return value;
    }

    static String write(Object value) {
        StringBuilder to = new StringBuilder();
        write(value, to, 0);
        return to.toString();
    }

    private Object value(int depth) {
        if (depth > MAX_DEPTH) {
            throw new IllegalArgumentException("JSON is nested too deeply");
        }
        char next = peek();
        switch (next) {
            case '{': {
                Map<String, Object> map = new LinkedHashMap<>();
                at++;
                for (boolean more = peek() != '}'; more; more = comma('}')) {
                    peek();
                    String name = string();
                    take(':');
                    map.put(name, value(depth + 1));
                }
                take('}');
                return map;
            }
            case '[': {
                List<Object> list = new ArrayList<>();
                at++;
                for (boolean more = peek() != ']'; more; more = comma(']')) {
                    list.add(value(depth + 1));
                }
                take(']');
                return list;
            }
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private char peek() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        return at < text.length() ? text.charAt(at) : '\0';
    }

    private void take(char wanted) {
        if (peek() != wanted) {
            throw wrong("'" + wanted + "'");
        }
        at++;
    }

    private boolean comma(char end) {
        if (peek() == end) {
            return false;
        }
        take(',');
        return true;
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("a value");
        }
        at += word.length();
        return value;
    }

    private Object number() {
        int start = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String digits = text.substring(start, at);
        try {
            if (digits.chars().anyMatch(c -> c == '.' || c == 'e' || c == 'E')) {
                return Double.valueOf(digits);
            }
            BigInteger whole = new BigInteger(digits);
            return whole.bitLength() < 64 ? (Object) whole.longValue() : whole;
        } catch (NumberFormatException error) {
            at = start;
            throw wrong("a value");
        }
    }

    private String string() {
        take('"');
        StringBuilder string = new StringBuilder();
        for (;;) {
            if (at >= text.length()) {
                throw wrong("'\"'");
            }
            char next = text.charAt(at++);
            if (next == '"') {
                return string.toString();
            }
            if (next != '\\') {
                string.append(next);
                continue;
            }
            char escaped = at < text.length() ? text.charAt(at++) : '\0';
            int plain = "\"\\/bfnrt".indexOf(escaped);
            if (escaped == 'u' && at + 4 <= text.length()) {
                string.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                at += 4;
            } else if (plain >= 0) {
                string.append("\"\\/\b\f\n\r\t".charAt(plain));
            } else {
                throw wrong("an escape");
            }
        }
    }

    private IllegalArgumentException wrong(String wanted) {
        return new IllegalArgumentException("expected " + wanted + " at character " + at + " of the JSON text");
    }

    private static void write(Object value, StringBuilder to, int depth) {
        if (depth > MAX_DEPTH) {
            throw new IllegalArgumentException("it is nested too deeply, or contains itself");
        }
        if (value == null || value instanceof Boolean) {
            to.append(value);
        } else if (value instanceof String is) {
            quote(is, to);
        } else if (value instanceof Number is) {
            double size = is.doubleValue();
            boolean floating = value instanceof Double || value instanceof Float;
            if (floating && (Double.isNaN(size) || Double.isInfinite(size))) {
                throw new IllegalArgumentException(value + " is no JSON number");
            }
            boolean plain = value.getClass().getName().startsWith("java.") || value.getClass().getName().startsWith("clojure.lang.BigInt");
            to.append(plain ? value.toString() : Double.toString(size));
        } else if (value instanceof Map<?, ?> is) {
            char before = '{';
            for (Map.Entry<?, ?> entry : is.entrySet()) {
                to.append(before);
                quote(String.valueOf(entry.getKey()), to);
                to.append(':');
                write(entry.getValue(), to, depth + 1);
                before = ',';
            }
            to.append(before == '{' ? "{}" : "}");
        } else if (value instanceof Iterable<?> is && !(value instanceof java.nio.file.Path)) {
            char before = '[';
            for (Object item : is) {
                to.append(before);
                write(item, to, depth + 1);
                before = ',';
            }
            to.append(before == '[' ? "[]" : "]");
        } else if (value.getClass().isArray()) {
            List<Object> items = new ArrayList<>();
            for (int n = 0; n < Array.getLength(value); n++) {
                items.add(Array.get(value, n));
            }
            write(items, to, depth);
        } else {
            write(Bind.from(value), to, depth + 1);
        }
    }

    private static void quote(String text, StringBuilder to) {
        to.append('"');
        for (int n = 0; n < text.length(); n++) {
            char c = text.charAt(n);
            boolean pair = Character.isHighSurrogate(c) && n + 1 < text.length() && Character.isLowSurrogate(text.charAt(n + 1));
            if (pair) {
                to.append(c).append(text.charAt(++n));
            } else if (c == '"' || c == '\\') {
                to.append('\\').append(c);
            } else if (c < 0x20 || Character.isSurrogate(c)) {
                to.append(String.format("\\u%04x", (int) c));
            } else {
                to.append(c);
            }
        }
        to.append('"');
    }
}
