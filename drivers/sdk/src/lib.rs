//! What every driver executable needs: configuration, emit with back-pressure, checkpoint, health, shutdown.
