// A function on the JVM: an object with one method of two parameters, and what these parameters are.
package dispatch.worker;

import java.lang.annotation.Annotation;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BiFunction;

final class Handler {
    private static final String SPRING = "org.springframework.context.annotation.";

    private final BiFunction<Object, Object, Object> function;
    private final Type context;
    private final Type payload;

    private Handler(BiFunction<Object, Object, Object> function, Type context, Type payload) {
        this.function = function;
        this.context = context;
        this.payload = payload;
    }

    static Handler of(BiFunction<Object, Object, Object> function) {
        return new Handler(function, Object.class, Object.class);
    }

    // A class that implements BiFunction, or a Spring configuration with one bean that does.
    static Handler named(String name) throws Exception {
        Class<?> type;
        try {
            type = Class.forName(name);
        } catch (ClassNotFoundException error) {
            throw new IllegalArgumentException("there is no class " + name);
        }
        if (BiFunction.class.isAssignableFrom(type)) {
            return typed(made(type));
        }
        for (Annotation annotation : type.getAnnotations()) {
            if (annotation.annotationType().getName().equals(SPRING + "Configuration")) {
                return typed(bean(type));
            }
        }
        throw new IllegalArgumentException(name + " is neither a java.util.function.BiFunction nor a Spring @Configuration");
    }

    Object context(Object value) {
        return Bind.to(value, context, "context");
    }

    Object payload(Object value) {
        return Bind.to(value, payload, "payload");
    }

    Object apply(Object context, Object payload) {
        return function.apply(context, payload);
    }

    private static Object made(Class<?> type) throws Exception {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        } catch (NoSuchMethodException error) {
            throw new IllegalArgumentException(type.getName() + " has no constructor without parameters");
        } catch (InvocationTargetException error) {
            throw error.getCause() instanceof Exception cause ? cause : error;
        }
    }

    // By reflection: Spring is among the image's packages or nowhere.
    private static Object bean(Class<?> type) throws Exception {
        Class<?> contexts = Class.forName(SPRING + "AnnotationConfigApplicationContext");
        Object spring = contexts.getConstructor(Class[].class).newInstance((Object) new Class<?>[] {type});
        return contexts.getMethod("getBean", Class.class).invoke(spring, BiFunction.class);
    }

    @SuppressWarnings("unchecked")
    private static Handler typed(Object function) {
        Type[] found = parameters(function.getClass(), new HashMap<>());
        return new Handler((BiFunction<Object, Object, Object>) function, found[0], found[1]);
    }

    // What a class says BiFunction's parameters are, through its superclasses and interfaces.
    private static Type[] parameters(Class<?> type, Map<TypeVariable<?>, Type> known) {
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            for (Type face : at.getGenericInterfaces()) {
                Type[] found = face(face, known);
                if (found != null) {
                    return found;
                }
            }
            learn(at.getGenericSuperclass(), known);
        }
        return new Type[] {Object.class, Object.class};
    }

    private static Type[] face(Type face, Map<TypeVariable<?>, Type> known) {
        learn(face, known);
        Class<?> raw = Bind.raw(face);
        if (raw == BiFunction.class) {
            return face instanceof ParameterizedType is
                    ? new Type[] {resolved(is.getActualTypeArguments()[0], known), resolved(is.getActualTypeArguments()[1], known)}
                    : new Type[] {Object.class, Object.class};
        }
        for (Type above : raw.getGenericInterfaces()) {
            Type[] found = face(above, known);
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    private static void learn(Type type, Map<TypeVariable<?>, Type> known) {
        if (type instanceof ParameterizedType is) {
            TypeVariable<?>[] names = Bind.raw(is).getTypeParameters();
            for (int n = 0; n < names.length; n++) {
                known.put(names[n], resolved(is.getActualTypeArguments()[n], known));
            }
        }
    }

    private static Type resolved(Type type, Map<TypeVariable<?>, Type> known) {
        return type instanceof TypeVariable<?> name ? known.getOrDefault(name, Object.class) : type;
    }
}
