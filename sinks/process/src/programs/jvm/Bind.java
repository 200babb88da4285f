// JSON values as the types a function asks for, and objects as JSON values: by their fields, as most libraries do.
package dispatch.worker;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;

final class Bind {
    private Bind() {}

    // The value as the type; an IllegalArgumentException names the place where it does not fit.
    static Object to(Object value, Type type, String place) {
        Class<?> raw = raw(type);
        if (raw == Object.class) {
            return value;
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(value == null ? null : to(value, argument(type, 0), place));
        }
        if (value == null) {
            if (raw.isPrimitive()) {
                throw misfit(value, raw, place);
            }
            return null;
        }
        if (raw == Map.class || Map.class.isAssignableFrom(raw) && raw.isAssignableFrom(LinkedHashMap.class)) {
            Map<Object, Object> map = new LinkedHashMap<>();
            Map<?, ?> members = fits(value, Map.class, raw, place);
            for (Map.Entry<?, ?> entry : members.entrySet()) {
                map.put(entry.getKey(), to(entry.getValue(), argument(type, 1), place + "." + entry.getKey()));
            }
            return map;
        }
        if (raw.isArray()) {
            List<?> list = fits(value, List.class, raw, place);
            Type item = type instanceof GenericArrayType is ? is.getGenericComponentType() : raw.getComponentType();
            Object array = Array.newInstance(raw.getComponentType(), list.size());
            for (int n = 0; n < list.size(); n++) {
                Array.set(array, n, to(list.get(n), item, place + "[" + n + "]"));
            }
            return array;
        }
        if (Iterable.class.isAssignableFrom(raw)) {
            Collection<Object> items = raw.isAssignableFrom(ArrayList.class) ? new ArrayList<>() : new LinkedHashSet<>();
            if (!raw.isInstance(items)) {
                throw misfit(value, raw, place);
            }
            for (Object item : fits(value, List.class, raw, place)) {
                items.add(to(item, argument(type, 0), place + "[" + items.size() + "]"));
            }
            return items;
        }
        if (raw == String.class || raw == CharSequence.class) {
            return fits(value, String.class, raw, place);
        }
        if (raw == boolean.class || raw == Boolean.class) {
            return fits(value, Boolean.class, raw, place);
        }
        if (raw.isPrimitive() || Number.class.isAssignableFrom(raw)) {
            return number(fits(value, Number.class, raw, place), raw, place);
        }
        if (raw.isEnum()) {
            for (Object constant : raw.getEnumConstants()) {
                if (((Enum<?>) constant).name().equals(value)) {
                    return constant;
                }
            }
            throw misfit(value, raw, place);
        }
        return object(fits(value, Map.class, raw, place), raw, place);
    }

    // What an object is in JSON: itself if JSON knows it, else its fields.
    static Object from(Object value) {
        if (value instanceof Optional<?> is) {
            return is.orElse(null);
        }
        if (value instanceof Enum<?> is) {
            return is.name();
        }
        if (value instanceof CharSequence || value instanceof Character || value.getClass().getName().startsWith("java.")) {
            return value.toString();
        }
        Map<String, Object> members = new LinkedHashMap<>();
        for (Field field : fields(value.getClass())) {
            try {
                Object member = field.get(value);
                if (member != null) {
                    members.put(field.getName(), member);
                }
            } catch (IllegalAccessException error) {
                throw new IllegalArgumentException(field + " cannot be read");
            }
        }
        return members;
    }

    static Class<?> raw(Type type) {
        if (type instanceof Class<?> is) {
            return is;
        }
        if (type instanceof ParameterizedType is) {
            return raw(is.getRawType());
        }
        if (type instanceof GenericArrayType is) {
            return raw(is.getGenericComponentType()).arrayType();
        }
        return type instanceof WildcardType is ? raw(is.getUpperBounds()[0]) : Object.class;
    }

    private static Type argument(Type type, int at) {
        return type instanceof ParameterizedType is && is.getActualTypeArguments().length > at
                ? is.getActualTypeArguments()[at] : Object.class;
    }

    private static Object number(Number value, Class<?> type, String place) {
        BigDecimal exact = new BigDecimal(value.toString());
        try {
            if (type == int.class || type == Integer.class) return exact.intValueExact();
            if (type == long.class || type == Long.class) return exact.longValueExact();
            if (type == short.class || type == Short.class) return exact.shortValueExact();
            if (type == byte.class || type == Byte.class) return exact.byteValueExact();
            if (type == BigInteger.class) return exact.toBigIntegerExact();
        } catch (ArithmeticException error) {
            throw misfit(value, type, place);
        }
        if (type == double.class || type == Double.class) return exact.doubleValue();
        if (type == float.class || type == Float.class) return exact.floatValue();
        if (type == BigDecimal.class) return exact;
        if (type == Number.class) return value;
        throw misfit(value, type, place);
    }

    private static Object object(Map<?, ?> members, Class<?> type, String place) {
        if (type.isInterface() || Modifier.isAbstract(type.getModifiers())) {
            throw misfit(members, type, place);
        }
        try {
            if (type.isRecord()) {
                return record(members, type, place);
            }
            Object made = made(type);
            for (Field field : fields(type)) {
                if (members.containsKey(field.getName())) {
                    Object member = to(members.get(field.getName()), field.getGenericType(), place + "." + field.getName());
                    field.set(made, member);
                }
            }
            return made;
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(place + ": " + error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(place + ": " + type.getName() + " cannot be made: " + error);
        }
    }

    private static Object record(Map<?, ?> members, Class<?> type, String place) throws ReflectiveOperationException {
        RecordComponent[] components = type.getRecordComponents();
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        for (int n = 0; n < components.length; n++) {
            String name = components[n].getName();
            types[n] = components[n].getType();
            values[n] = to(members.get(name), components[n].getGenericType(), place + "." + name);
        }
        Constructor<?> constructor = type.getDeclaredConstructor(types);
        constructor.setAccessible(true);
        return constructor.newInstance(values);
    }

    // By its constructor without parameters; an inner class lies in no object then. A class that has none is made
    // without any, as libraries do.
    private static Object made(Class<?> type) throws ReflectiveOperationException {
        boolean inner = type.isMemberClass() && !Modifier.isStatic(type.getModifiers());
        try {
            Constructor<?> constructor = inner ? type.getDeclaredConstructor(type.getEnclosingClass()) : type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return inner ? constructor.newInstance((Object) null) : constructor.newInstance();
        } catch (NoSuchMethodException none) {
            Class<?> unsafe = Class.forName("sun.misc.Unsafe");
            Field only = unsafe.getDeclaredField("theUnsafe");
            only.setAccessible(true);
            return unsafe.getMethod("allocateInstance", Class.class).invoke(only.get(null), type);
        }
    }

    private static List<Field> fields(Class<?> type) {
        List<Field> fields = new ArrayList<>();
        for (Class<?> at = type; at != null && at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                if (!field.isSynthetic() && (field.getModifiers() & (Modifier.STATIC | Modifier.TRANSIENT)) == 0) {
                    try {
                        field.setAccessible(true);
                    } catch (RuntimeException closed) {
                        throw new IllegalArgumentException(type.getName() + " does not let its fields be seen");
                    }
                    fields.add(field);
                }
            }
        }
        return fields;
    }

    private static <T> T fits(Object value, Class<T> kind, Class<?> type, String place) {
        if (!kind.isInstance(value)) {
            throw misfit(value, type, place);
        }
        return kind.cast(value);
    }

    private static IllegalArgumentException misfit(Object value, Class<?> type, String place) {
        String is = value == null ? "null" : value instanceof Map ? "an object" : value instanceof List ? "a list"
                : value instanceof String ? "a string" : "" + value;
        return new IllegalArgumentException(place + ": " + is + " is no " + type.getSimpleName());
    }
}
