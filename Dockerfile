# Both programs, small and without root.   docker build -t openclaw-edge .
#   docker run -p 8080:8080 -v edge-data:/data -v ./edge.yaml:/etc/openclaw-edge/edge.yaml:ro openclaw-edge
#   docker run -p 4078:4078 -v store-data:/data --entrypoint mesh-store openclaw-edge run --config /etc/openclaw-edge/store.yaml

FROM node:24-bookworm-slim AS page
WORKDIR /src/src/console/page
COPY src/console/page/package.json src/console/page/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY src/console/page ./
RUN npm run build

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=page /src/src/console/built/page src/console/built/page
# The compiler's work is kept between builds and is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins \
 && install -D -t /out target/release/openclaw-edge target/release/mesh-store

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /usr/local/bin/
COPY conf/edge.yaml conf/store.yaml /usr/share/openclaw-edge/
# Relative paths in a config, such as `data: ./data`, end up in the volume.
WORKDIR /data
VOLUME /data
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["openclaw-edge"]
CMD ["run", "--config", "/etc/openclaw-edge/edge.yaml"]
