import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.Executors;

/** Says what Java's own ways of reading make of a target. Usage: java Paths.java PORT */
class Paths {
    public static void main(String[] arguments) throws Exception {
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        var server = HttpServer.create(address, 128);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            var body = say(exchange.getRequestURI()).getBytes(StandardCharsets.US_ASCII);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    static String say(URI target) {
        List<String> views = new ArrayList<>();
        for (URI uri : List.of(target, target.normalize())) {
            views.add(uri.getPath());
            views.add(uri.getRawPath());
            views.add(Path.of(uri.getPath().replace("\0", "")).normalize().toString());
        }
        var said = new StringBuilder();
        for (String view : views) {
            var hex = HexFormat.of().formatHex(view.getBytes(StandardCharsets.UTF_8));
            said.append("path ").append(hex).append('\n');
        }
        return said.toString();
    }
}
