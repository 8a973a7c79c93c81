# Both programs, small and without root.   docker build -t openclaw-edge .
#   docker run -p 8080:8080 -v edge-data:/data -v ./edge.yaml:/etc/openclaw-edge/edge.yaml:ro openclaw-edge
#   docker run -p 4078:4078 -v store-data:/data --entrypoint mesh-store openclaw-edge run --config /etc/openclaw-edge/store.yaml

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src/bin tests/it benches \
 && echo 'fn main() {}' | tee src/bin/openclaw-edge.rs src/bin/mesh-store.rs tests/it/main.rs \
      benches/signatures.rs benches/limits.rs benches/through.rs benches/admission.rs >/dev/null \
 && touch src/lib.rs && cargo build --release --locked --bins && rm -rf src
COPY src ./src
COPY conf ./conf
RUN touch src/lib.rs src/bin/*.rs && cargo build --release --locked --bins

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/openclaw-edge /src/target/release/mesh-store /usr/local/bin/
COPY --from=build /src/conf/edge.yaml /src/conf/store.yaml /usr/share/openclaw-edge/
# Relative paths in a config, such as `data: ./data`, end up in the volume.
WORKDIR /data
VOLUME /data
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["openclaw-edge"]
CMD ["run", "--config", "/etc/openclaw-edge/edge.yaml"]
